"""`make demo`: the whole line on this machine, told in the order in which it happens.

Builds the recipe `tiny` into the folder given (runs/tiny), then uses what was made: a continuation, an infilling, the
release loaded by transformers from its folder and from a revision, the reason why a file was left out, and the origin of
lines of other people's code planted in a text. It ends with code that is taken out on request, and proved gone.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

STACKWRIGHT = [sys.executable, "-m", "stackwright"]


def show(*arguments: str) -> None:
    """Print a command as a user would type it, run it, and stop the demo when it fails."""
    print(f"\n$ stackwright {shlex.join(arguments)}", flush=True)
    subprocess.run([*STACKWRIGHT, *arguments], check=True)


def check_release(release: Path) -> None:
    """Load the release and an intermediate revision with transformers and compare with our own model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from stackwright import load_model

    logging.disable_progress_bar()
    print(f"\n$ python  # transformers loads {release}", flush=True)
    ours = load_model(release)
    theirs = AutoModelForCausalLM.from_pretrained(release).eval()
    tokenizer = AutoTokenizer.from_pretrained(release)
    ids = torch.randint(0, tokenizer.vocab_size, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        difference = (ours.model(ids) - theirs(ids).logits).abs().max().item()
    print(f"largest difference between our logits and theirs on random ids: {difference:.1e}")
    cache = release / "revisions"
    name = next(cache.glob("models--*")).name.removeprefix("models--").replace("--", "/")
    revision = min(path.name for path in (cache / f"models--{name.replace('/', '--')}" / "refs").glob("step-*"))
    AutoModelForCausalLM.from_pretrained(name, revision=revision, cache_dir=cache, local_files_only=True)
    print(f"revision {revision} of {name} loads as well")


def a_near_copy(run: Path) -> str:
    """Return a file that was dropped for being nearly another one: the least similar of them."""
    import duckdb

    table = str(run / "dataset" / "clusters" / "*.parquet")
    query = "select repo, path from read_parquet(?) where kind = 'near' and decisive order by similarity, repo, path limit 1"
    row = duckdb.execute(query, [table]).fetchone()
    assert row is not None, "an environment of this size has near copies"
    return f"{row[0]}:{row[1]}"


def cite_planted_lines(run: Path) -> None:
    """Plant six lines of a collected file in a text of our own and ask where the text comes from."""
    import duckdb

    table = str(run / "dataset" / "documents" / "*.parquet")
    query = "select content from read_parquet(?) where repo = 'installed/python-stdlib' and path = 'bisect.py'"
    row = duckdb.execute(query, [table]).fetchone()
    assert row is not None, "the standard library is collected"
    lines = row[0].splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.lstrip().startswith("while lo < hi"))
    text = (
        "def place_of(a, x, lo, hi):\n    # written for this demo\n"
        + "".join(lines[first : first + 6])
        + "    return None\n"
    )
    planted = run / "planted.py"
    planted.write_text(text, "utf-8")
    print(f"\n$ cat {planted}\n{text}", end="", flush=True)
    show("cite", str(run), str(planted))


def show_removal(run: Path) -> None:
    """Plant code in two repositories beside some that is installed, take it out again, and prove it."""
    folder = run.with_name(f"{run.name}-removal")
    print(f"\n$ python docs/demo_removal.py {folder}", flush=True)
    subprocess.run([sys.executable, str(Path(__file__).with_name("demo_removal.py")), str(folder)], check=True)


def main() -> None:
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tiny")
    show("build", "tiny", "--out", str(run))
    show("generate", str(run), "def __init__(self, name, value):\n        self.", "--max-new-tokens", "24")
    before, after = "class Item:\n    def __init__(self, name):\n        ", "\n        self.value = value\n"
    show("generate", str(run), before, "--suffix", after, "--max-new-tokens", "16")
    check_release(run / "release")
    show("report", str(run))
    show("explain", str(run), a_near_copy(run))
    cite_planted_lines(run)
    show_removal(run)
    program = os.path.relpath(Path(sys.executable).parent / "stackwright")
    print(f"\nTry it in the page, or in an editor: {program} serve {run}")


if __name__ == "__main__":
    main()
