"""What a removal costs: `optout apply` for some of the repositories, beside a full run without them.

In: a folder of packages (benchmarks/corpora.py). Folders a few levels down become repositories, so that there are more than
a hundred. Both sides go from collect to index with the same tokenizer and the same files taken out. Out, per round: seconds
and CPU seconds of the removal (plan, rebuild, receipt and all) and of the full run, their ratio, and whether every table and
every file of the index is equal.

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

FOLDERS = ("corpus", "dataset", "tokens", "index")


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


def timed(*arguments: str) -> dict[str, float]:
    """Run `stackwright` in a process of its own; returns wall and CPU seconds."""
    started, before = time.monotonic(), os.times()
    subprocess.run([sys.executable, "-m", "stackwright", *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": round(time.monotonic() - started, 2), "cpu_seconds": round(cpu, 2)}


def full_run(world: Path, run: Path, *more: str) -> dict[str, float]:
    source = f"sources=[{{kind='directory', path='{world}', layout='repositories', license='MIT'}}]"
    settings = ["--set", "name=incremental", "--set", source]
    return timed("build", "tiny", "--json", "--out", str(run), "--to", "index", *settings, *more)


def removal(run: Path, repositories: Sequence[str]) -> dict[str, float]:
    """Take repositories out of a run; only the applying is timed."""
    for name in repositories:
        timed("optout", str(run), "add", f"directory/{name}", "--requester", "benchmark", "--reason", "benchmark")
    return timed("optout", str(run), "apply", "--json")


def run_without(base: Path, removed: Path, run: Path) -> None:
    """Make a run folder that holds nothing but the tokenizer of `base`, and what another run had taken out."""
    run.mkdir()
    shutil.copytree(base / "tokenizer", run / "tokenizer")
    shutil.copy(base / "run.json", run)
    shutil.copytree(removed / "optout", run / "optout")


def contents(run: Path) -> dict[str, str]:
    """Return the digest of every table's rows, and of every file of the index."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
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
    print(json.dumps({"first run": full_run(world, base)}), flush=True)
    ratios = []
    for number in range(options.rounds):
        gone = random.Random(number).sample(repositories, count)
        incremental, full = options.work / "incremental", options.work / "full"
        for run in (incremental, full):
            shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(base, incremental, copy_function=os.link)
        sides = {"removal": removal(incremental, gone)}
        run_without(base, incremental, full)
        sides["full"] = full_run(world, full, "--keep-tokenizer")
        equal = contents(full) == contents(incremental)
        ratios.append({key: sides["removal"][key] / sides["full"][key] for key in ("seconds", "cpu_seconds")})
        manifests = [json.loads((incremental / folder / "manifest.json").read_text("utf-8")) for folder in FOLDERS]
        stages = {manifest["content"]["stage"]: manifest["run"]["seconds"] for manifest in manifests}
        print(json.dumps({"gone": gone, **sides, "stages": stages, "ratio": ratios[-1], "equal": equal}), flush=True)
        if not equal:
            sys.exit("the removal differs from the full run")
    for key in ("seconds", "cpu_seconds"):
        values = [ratio[key] for ratio in ratios]
        print(f"{key}: median {statistics.median(values):.3f} of a full run, {min(values):.3f} to {max(values):.3f}")


if __name__ == "__main__":
    main()
