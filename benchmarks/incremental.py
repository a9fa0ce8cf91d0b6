"""What a change costs: a run after repositories were taken out, beside a run that never had them.

In: a folder of packages (benchmarks/corpora.py). Each folder two levels down becomes a repository, so that there are more
than a hundred. Both runs go from collect to index with the same tokenizer. Out, per round: seconds and CPU seconds of the
full run and of the incremental one, and whether every table and every index file is equal.

    python benchmarks/incremental.py corpora/250MB --work work --share 0.01 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

STAGES = ("collect", "curate", "tokens", "index")


def cut_into_repositories(corpus: Path, world: Path, least_bytes: int) -> list[str]:
    """Link the files of a corpus into one folder per repository; returns the repositories' names."""
    shutil.rmtree(world, ignore_errors=True)
    for package in sorted(entry for entry in corpus.iterdir() if entry.is_dir()):
        for name, files in _groups(package, least_bytes):
            for file in files:
                target = world / name / file.relative_to(package)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, target)
    return sorted(entry.name for entry in world.iterdir())


def _groups(package: Path, least_bytes: int) -> Iterator[tuple[str, list[Path]]]:
    """Yield folders of about `least_bytes` or more, two levels down, as (name, files); what is small is put together."""
    groups: dict[str, list[Path]] = {}
    for file in sorted(path for path in package.rglob("*") if path.is_file() and not path.is_symlink()):
        parts = file.relative_to(package).parts[:-1][:3]
        groups.setdefault("__".join([package.name, *parts]), []).append(file)
    pending: list[Path] = []
    for name, files in sorted(groups.items()):
        pending += files
        if sum(file.stat().st_size for file in pending) >= least_bytes:
            yield name, pending
            pending = []
    if pending:
        yield f"{package.name}__rest", pending


def run_build(world: Path, run: Path, *, keep_tokenizer: bool) -> dict[str, float]:
    """Build up to the index in a process of its own; returns wall and CPU seconds."""
    source = f"sources=[{{kind='directory', path='{world}', layout='repositories', license='MIT'}}]"
    command = [sys.executable, "-m", "stackwright", "build", "tiny", "--json", "--out", str(run), "--to", "index"]
    command += ["--set", "name=incremental", "--set", source] + (["--keep-tokenizer"] if keep_tokenizer else [])
    started, before = time.monotonic(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": time.monotonic() - started, "cpu_seconds": cpu}


def contents(run: Path) -> dict[str, str]:
    """Return the digest of every table's rows, and of every file of the index."""
    found = {}
    for folder in ("corpus", "dataset", "tokens", "index"):
        content = json.loads((run / folder / "manifest.json").read_text("utf-8"))["content"]
        found |= {f"{folder}/{name}": table["rows_sha256"] for name, table in content["tables"].items()}
        if folder == "index":
            found |= {name: file["sha256"] for name, file in content["files"].items() if "." in name and "/" not in name}
    found.pop("index.json")  # names the dataset's digest, which holds those of files cut elsewhere
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.01, help="share of the repositories that are taken out")
    parser.add_argument("--least", type=int, default=1_000_000, help="bytes of a repository, about")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    world = options.work / "world"
    repositories = cut_into_repositories(options.corpus, world, options.least)
    count = max(round(len(repositories) * options.share), 1)
    print(f"{len(repositories)} repositories, {count} taken out a round")
    base = options.work / "base"
    shutil.rmtree(base, ignore_errors=True)
    print(json.dumps({"first run": run_build(world, base, keep_tokenizer=False)}))
    ratios = []
    for number in range(options.rounds):
        gone = random.Random(number).sample(repositories, count)
        aside = options.work / "aside"
        aside.mkdir(exist_ok=True)
        for name in gone:
            os.rename(world / name, aside / name)
        incremental, full = options.work / "incremental", options.work / "full"
        for run in (incremental, full):
            shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(base, incremental, copy_function=os.link)
        full.mkdir()
        shutil.copytree(base / "tokenizer", full / "tokenizer")
        shutil.copy(base / "run.json", full)
        timed = {run.name: run_build(world, run, keep_tokenizer=True) for run in (full, incremental)}
        equal = contents(full) == contents(incremental)
        ratios.append({key: timed["incremental"][key] / timed["full"][key] for key in ("seconds", "cpu_seconds")})
        seconds = {
            stage: json.loads((incremental / folder / "manifest.json").read_text("utf-8"))["run"]["seconds"]
            for stage, folder in zip(STAGES, ("corpus", "dataset", "tokens", "index"), strict=True)
        }
        print(json.dumps({"gone": gone, **timed, "stages": seconds, "ratio": ratios[-1], "equal": equal}), flush=True)
        for name in gone:
            os.rename(aside / name, world / name)
        if not equal:
            sys.exit("the incremental run differs from the full one")
    for key in ("seconds", "cpu_seconds"):
        values = [ratio[key] for ratio in ratios]
        print(f"{key}: median {statistics.median(values):.3f} of a full run, {min(values):.3f} to {max(values):.3f}")


if __name__ == "__main__":
    main()
