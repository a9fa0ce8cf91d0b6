"""Near deduplication: what it finds of the truth, what it drops, and what that costs in time and memory.

In: a Parquet file with the columns `name` and `text`, or a folder of files. Out: one line of JSON per run, with the keys of
near_dedup_peers.py, so that both can be read side by side. Each run is a process of its own; seconds count it from start
to end, `step_seconds` each step of the pipeline. Cutting the input into shards of about 30 MB is not counted.

Given the oracle's pairs (near_dedup_oracle.py --skip-header on what `--write-starts` wrote), the line says which share of
them was found as edges (`recall`), and as members of one component (`cluster_recall`, what the peers' recall means).

Examples:
    python benchmarks/near_dedup.py sample.parquet --write-starts started.parquet
    python benchmarks/near_dedup.py sample.parquet --pairs pairs.parquet --preset verified-0.7 --out ours
    python benchmarks/near_dedup.py corpora/250MB corpora/1GB corpora/250MB corpora/1GB --workers 1 --memory 1GB --out ours
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stackwright.artifact import write_parquet
from stackwright.curate.near_dedup.license_comment import end_of_license_comment
from stackwright.curate.near_dedup.presets import PRESETS
from stackwright.curate.near_dedup.steps import NearDedup, iter_edges, run_near_dedup
from stackwright.document import git_blob_id
from stackwright.engine import Engine
from stackwright.log import ResourceMeter, SilentProgress, Task
from stackwright.sizes import parse_size

SHARD_BYTES = 30_000_000


def iter_texts(source: Path) -> Iterator[tuple[str, str]]:
    """Yield names and texts of a folder or a Parquet file, in the order of the names; what is not UTF-8 is left out."""
    if source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.is_file() and not path.is_symlink()):
            try:
                yield path.relative_to(source).as_posix(), path.read_bytes().decode("utf-8")
            except UnicodeDecodeError:
                continue
        return
    rows = pq.read_table(source, columns=["name", "text"]).sort_by("name").to_pylist()
    yield from ((row["name"], row["text"]) for row in rows)


def write_shards(source: Path, folder: Path) -> tuple[int, int, int]:
    """Write the documents in shards, of byte-identical files the first only. Returns shards, files and bytes."""
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    shards = files = total = size = 0
    for name, text in iter_texts(source):
        content_id = git_blob_id(text.encode("utf-8"))
        if content_id not in seen:
            seen.add(content_id)
            rows.append({"path": name, "content": text, "content_id": content_id})
            size += len(text.encode("utf-8"))
            files += 1
        if size > SHARD_BYTES:
            write_parquet(folder / f"{shards:05d}.parquet", pa.Table.from_pylist(rows))
            rows, total, size, shards = [], total + size, 0, shards + 1
    if rows:
        write_parquet(folder / f"{shards:05d}.parquet", pa.Table.from_pylist(rows))
        shards, total = shards + 1, total + size
    return shards, files, total


def documents_of(shard: int, *, folder: Path) -> Iterator[Mapping[str, Any]]:
    same = {"repo": "r", "revision": "1", "language": "any", "license_type": "permissive"}
    same |= dict.fromkeys(("stars", "forks", "revision_date"))
    with pq.ParquetFile(folder / f"{shard:05d}.parquet") as file:
        for group in range(file.num_row_groups):
            yield from ({**row, **same} for row in file.read_row_group(group).to_pylist())


class StepSeconds(SilentProgress):
    """Notes when each step of the engine begins."""

    def __init__(self) -> None:
        self._begun: list[tuple[str, float]] = []

    def task(self, label: str, total: float | None, unit: str) -> Task:
        self._begun.append((label, time.perf_counter()))
        return super().task(label, total, unit)

    def seconds(self) -> dict[str, float]:
        ends = [began for _, began in self._begun[1:]] + [time.perf_counter()]
        return {label: round(end - began, 2) for (label, began), end in zip(self._begun, ends, strict=True)}


def run_inside(folder: Path, preset: str, workers: int, memory: int | None) -> dict[str, Any]:
    """Run the pipeline on shards in this process and its workers."""
    scratch, watch = folder / "scratch", StepSeconds()
    shutil.rmtree(scratch, ignore_errors=True)
    num_shards = len(list(folder.glob("*.parquet")))
    job = NearDedup(PRESETS[preset], num_shards, 16, partial(documents_of, folder=folder), scratch)
    with ResourceMeter(0.1) as meter:
        counts = run_near_dedup(Engine(workers, memory, watch), job)
    result = {"peak_memory_bytes": meter.peak_bytes, "step_seconds": watch.seconds(), **counts}
    edges = [edge for shard in range(num_shards) for edge in iter_edges(job, shard)]
    (folder / "edges.json").write_text(
        json.dumps([[e["path"], e["other_path"], e["similarity"], e["decisive"]] for e in edges])
    )
    scratch_bytes = sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file())
    return {**result, "scratch_bytes": scratch_bytes}


def component_of(edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the root of every document that has an edge."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for first, second in edges:
        parent[root(first)] = root(second)
    return {name: root(name) for name in parent}


def recall_of(pairs: Path, edges: list[list[Any]], threshold: float) -> dict[str, float]:
    table = pq.read_table(pairs)
    truth = {frozenset(pair) for pair in zip(table["name_a"].to_pylist(), table["name_b"].to_pylist(), strict=True)}
    near = {frozenset(edge[:2]) for edge in edges if edge[2] >= threshold}
    roots = component_of((first, second) for first, second, _, _ in edges)
    joined = sum(1 for a, b in map(tuple, truth) if a in roots and roots[a] == roots.get(b))
    below = sum(1 for _, _, similarity, decisive in edges if decisive and similarity < threshold)
    return {
        "pairs": len(truth),
        "recall": round(len(near & truth) / max(len(truth), 1), 4),
        "cluster_recall": round(joined / max(len(truth), 1), 4),
        "dropped_below_threshold": below,
    }


def run(source: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one source in a process of its own and return the line about it."""
    folder = options.out / source.stem
    if not folder.is_dir():
        shards, files, size = write_shards(source, folder)
        (folder / "input.json").write_text(json.dumps({"shards": shards, "files": files, "bytes": size}))
    command = [sys.executable, __file__, str(folder), "--inside", "--preset", options.preset]
    command += ["--workers", str(options.workers), *(["--memory", options.memory] if options.memory else [])]
    before, began = os.times(), time.perf_counter()
    facts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    after, seconds = os.times(), time.perf_counter() - began
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    line = {"peer": f"stackwright {options.preset}", "source": source.stem, "workers": options.workers}
    line |= json.loads((folder / "input.json").read_text()) | {
        "wall_seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
    }
    if options.pairs is not None:
        edges = json.loads((folder / "edges.json").read_text())
        facts |= recall_of(options.pairs, edges, facts["threshold"])
    return line | facts


def write_starts(source: Path, out: Path) -> None:
    """Write the sample with the column `start`: where a text goes on after its opening licence comment."""
    rows = [{"name": name, "text": text, "start": end_of_license_comment(text)} for name, text in iter_texts(source)]
    write_parquet(out, pa.Table.from_pylist(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="verified-0.7")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", help="limit, such as 1GB")
    parser.add_argument("--pairs", type=Path, help="the oracle's pairs as Parquet")
    parser.add_argument("--out", type=Path, default=Path("near-dedup"), help="folder of the shards and edges")
    parser.add_argument("--write-starts", type=Path, metavar="PARQUET", help="only write the oracle's input")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write_starts is not None:
        write_starts(options.sources[0], options.write_starts)
    elif options.inside:
        memory = None if options.memory is None else parse_size(options.memory)
        print(json.dumps(run_inside(options.sources[0], options.preset, options.workers, memory)))
    else:
        for source in options.sources:
            print(json.dumps(run(source, options)), flush=True)


if __name__ == "__main__":
    main()
