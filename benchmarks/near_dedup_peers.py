"""What other people's MinHash pipelines find in the same files, what it costs, and how much of the truth that is.

In: a Parquet file with the columns `name` and `text`, and a peer with its settings. Out: one line of JSON (also in
FOLDER/result.json), FOLDER/kept.json with the names that were kept, and FOLDER/clusters.json with the names of each cluster
of two or more. Given the oracle's pairs, the line has the recall: a pair is found when both files ended in one cluster.

Each peer runs in its own environment, made once under --scratch with pinned versions, in a process of its own. Seconds count
that process from start to end, with its imports; `pipeline_seconds` leaves the imports out. CPU is user and system time of
the process and its descendants; memory is the highest sum of their resident sets, looked at ten times a second (pages that
two processes share count twice). Making the environment and the input files is not counted.

- `datatrove`: MinhashConfig of its example: 14 buckets of 8 hashes of 64 bits, 5-grams, English tokenizer (spaCy's rules)
- `datatrove-32x8`: the same with 32 buckets of 8, the curve 1 - (1 - s^8)^32
- `text-dedup`: threshold 0.7, 5-grams, 256 permutations, from which it derives its own bands; defaults else
- `text-dedup-32x8`: the same with 32 bands of 8 rows

Example: python benchmarks/near_dedup_peers.py datatrove sample.parquet --out peers/datatrove --pairs pairs.parquet
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# text-dedup is installed without its dependencies, for they bring Spark and TensorFlow: the second list is what its MinHash
# module imports, in the versions of its time (with later ones `datasets` hands out columns row by row).
ENVIRONMENTS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "datatrove": (
        [],
        [
            *("datatrove==0.10.1", "numpy==2.4.6", "pyarrow==26.0.1", "spacy==3.8.18", "xxhash==3.8.2"),
            *("orjson==3.13.0", "regex==2026.11.19", "tokenizers==0.23.3"),
        ],
    ),
    "text-dedup": (
        ["text-dedup==0.4.0"],
        [
            *("click==8.1.7", "click-option-group==0.5.6", "datasets==2.20.0", "ftfy==6.2.0", "numpy==1.26.4"),
            *("pandas==2.2.2", "pyarrow==16.1.0", "regex==2024.5.15", "rich==13.7.1", "scipy==1.13.1", "tqdm==4.66.4"),
            "xxhash==3.4.1",
        ],
    ),
}

PR_SET_CHILD_SUBREAPER = 36
"""Of <linux/prctl.h>."""


@dataclass(frozen=True)
class Peer:
    """A tool with its settings; None means that the tool decides."""

    tool: str
    num_bands: int | None
    rows_per_band: int | None


PEERS: Mapping[str, Peer] = {
    "datatrove": Peer("datatrove", 14, 8),
    "datatrove-32x8": Peer("datatrove", 32, 8),
    "text-dedup": Peer("text-dedup", None, None),
    "text-dedup-32x8": Peer("text-dedup", 32, 8),
}


def prepare_environment(tool: str, scratch: Path) -> Path:
    """Return the Python of the tool's environment, made unless it is there."""
    folder = scratch / tool
    python, done = folder / "bin" / "python", folder / "installed.txt"
    if not done.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        alone, packages = ENVIRONMENTS[tool]
        install = [str(python), "-m", "pip", "install", "--quiet"]
        if alone:
            subprocess.run([*install, "--no-deps", *alone], check=True)
        subprocess.run([*install, *packages], check=True)
        frozen = subprocess.run([str(python), "-m", "pip", "freeze"], check=True, capture_output=True, text=True)
        done.write_text(frozen.stdout, encoding="utf-8")
    return python


def split_input(source: Path, folder: Path, num_parts: int) -> int:
    """Write the rows as one file per worker, in order, without empty texts (both tools drop them). Returns the rows."""
    table = pq.read_table(source, columns=["name", "text"])
    table = table.filter(pa.array([bool(text) for text in table["text"].to_pylist()]))
    folder.mkdir(parents=True)
    for part in range(num_parts):
        begin, end = (table.num_rows * i // num_parts for i in (part, part + 1))
        pq.write_table(table.slice(begin, end - begin), folder / f"{part:05d}.parquet")
    return int(table.num_rows)


def input_names(folder: Path) -> list[list[str]]:
    """Return the names in each part of the input."""
    return [pq.read_table(path, columns=["name"])["name"].to_pylist() for path in sorted(folder.glob("*.parquet"))]


class PeakMemory:
    """The highest sum of resident bytes of a process and its descendants while the `with` block runs."""

    def __init__(self, root: int) -> None:
        self.peak_bytes = 0
        self._root = root
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.peak_bytes = max(self.peak_bytes, tree_resident_bytes(self._root))


def tree_resident_bytes(root: int) -> int:
    """Return the summed resident bytes of a process and its descendants, from /proc."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            parents[int(entry.name)] = int(fields[1])
            resident[int(entry.name)] = int(fields[21]) * resource.getpagesize()
    total, tree = 0, [root]
    while tree:
        process = tree.pop()
        total += resident.get(process, 0)
        tree += [child for child, parent in parents.items() if parent == process]
    return total


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends: the time of a process counts once its parent waits for it.

    datatrove's workers belong to a server process that nobody waits for.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl cannot make this process adopt orphans")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Wait for what the process has left behind; end it first where the process itself was interrupted."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-process.pid, 0)


def run_peer(peer: str, source: Path, out: Path, workers: int, scratch: Path) -> dict[str, Any]:
    """Run one peer on `source` and return what it found and what it cost. `out` is made anew."""
    python = prepare_environment(PEERS[peer].tool, scratch)
    shutil.rmtree(out, ignore_errors=True)
    num_files = split_input(source, out / "input", workers)
    # Nothing may come from an earlier run's cache, and nothing is looked for on a hub.
    environment = {**os.environ, "HF_HOME": str((out / "cache").resolve()), "HF_HUB_OFFLINE": "1"}
    command = [str(python), str(Path(__file__).resolve()), peer, str(source), "--out", str(out)]
    command += ["--workers", str(workers), "--inside"]
    adopt_orphans()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with (out / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, process_group=0)
        try:
            with PeakMemory(process.pid) as memory:
                code = process.wait()
            wall_seconds = time.perf_counter() - began
        finally:
            end_group(process)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code != 0:
        raise SystemExit(f"{peer} ended with {code}; its output is in {out / 'log.txt'}")
    result = {
        "peer": peer,
        "workers": workers,
        "files": num_files,
        "wall_seconds": round(wall_seconds, 2),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "peak_memory_bytes": memory.peak_bytes,
        **json.loads((out / "inside.json").read_text("utf-8")),
    }
    (out / "result.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def recall(pairs: Iterable[tuple[str, str]], clusters: Iterable[Sequence[str]]) -> float | None:
    """Return the share of pairs whose two files are in one cluster; None when there is no pair."""
    cluster_of = {name: number for number, names in enumerate(clusters) for name in names}
    found = [cluster_of.get(a, -1) == cluster_of.get(b, -2) for a, b in pairs]
    return sum(found) / len(found) if found else None


def run_datatrove(peer: Peer, out: Path, workers: int) -> tuple[list[str], list[list[str]], float]:
    """The four steps of datatrove's example, one task per input file. Returns kept names, clusters and seconds."""
    from datatrove.executor import LocalPipelineExecutor  # type: ignore[import-not-found]
    from datatrove.pipeline.dedup import (  # type: ignore[import-not-found]
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig  # type: ignore[import-not-found]
    from datatrove.pipeline.readers import ParquetReader  # type: ignore[import-not-found]
    from datatrove.pipeline.writers.jsonl import JsonlWriter  # type: ignore[import-not-found]
    from datatrove.utils.hashing import HashConfig  # type: ignore[import-not-found]
    from datatrove.utils.typeshelper import Languages  # type: ignore[import-not-found]

    began = time.perf_counter()
    config = MinhashConfig(
        hash_config=HashConfig(precision=64), num_buckets=peer.num_bands, hashes_per_bucket=peer.rows_per_band
    )
    signatures, buckets, clusters, kept = (str(out / name) for name in ("signatures", "buckets", "clusters", "kept"))
    reader = ParquetReader(str(out / "input"), id_key="name")
    steps = [
        (workers, [reader, MinhashDedupSignature(signatures, config=config, language=Languages.english)]),
        (config.num_buckets, [MinhashDedupBuckets(signatures, buckets, config=config)]),
        (1, [MinhashDedupCluster(buckets, clusters, config=config, save_cluster_id=True)]),
        (workers, [reader, MinhashDedupFilter(clusters), JsonlWriter(kept, compression=None)]),
    ]
    for number, (tasks, pipeline) in enumerate(steps):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=workers, logging_dir=str(out / "logs" / str(number))).run()
    seconds = time.perf_counter() - began
    names = input_names(out / "input")
    members: dict[int, list[str]] = {}
    for path in sorted(Path(clusters).glob("*.clusters")):
        for document, cluster in struct.iter_unpack("<2I", path.read_bytes()):
            members.setdefault(cluster, []).append(names[int(path.stem)][document])
    lines = (line for path in sorted(Path(kept).glob("*.jsonl")) for line in path.read_text("utf-8").split("\n") if line)
    return [json.loads(line)["id"] for line in lines], list(members.values()), seconds


def run_text_dedup(peer: Peer, out: Path, workers: int) -> tuple[list[str], list[list[str]], float]:
    """text-dedup's MinHash command, called in this process for its clusters. Returns kept names, clusters and seconds."""
    from datasets import load_from_disk  # type: ignore[import-not-found]
    from text_dedup import minhash  # type: ignore[import-not-found]

    began = time.perf_counter()
    options = ["--path", "parquet", "--data_files", str(out / "input" / "*.parquet"), "--split", "train"]
    options += ["--cache_dir", str(out / "cache"), "--output", str(out / "kept"), "--column", "text"]
    options += ["--threshold", "0.7", "--ngram", "5", "--num_perm", "256", "--num_proc", str(workers)]
    if peer.num_bands is not None:
        options += ["--b", str(peer.num_bands), "--r", str(peer.rows_per_band)]
    minhash.main(options, standalone_mode=False)
    seconds = time.perf_counter() - began
    members: dict[int, list[str]] = {}
    for index, name in enumerate(name for part in input_names(out / "input") for name in part):
        members.setdefault(minhash.uf.find(index), []).append(name)
    clusters = [names for names in members.values() if len(names) > 1]
    return list(load_from_disk(str(out / "kept"))["name"]), clusters, seconds


def run_inside(peer: Peer, out: Path, workers: int) -> None:
    """Run in the peer's environment and leave kept.json, clusters.json and inside.json."""
    run = {"datatrove": run_datatrove, "text-dedup": run_text_dedup}[peer.tool]
    kept, clusters, seconds = run(peer, out, workers)
    num_files = sum(map(len, input_names(out / "input")))
    duplicates = sum(len(names) - 1 for names in clusters)
    facts = {
        "pipeline_seconds": round(seconds, 2),
        "kept": len(kept),
        "removed_as_duplicates": duplicates,
        "removed_as_too_short": num_files - len(kept) - duplicates,
        "clusters": len(clusters),
    }
    for name, value in (("kept", sorted(kept)), ("clusters", clusters), ("inside", facts)):
        (out / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("source", type=Path, help="Parquet file with the columns name and text")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, made anew")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="folder of the environments (default: beside --out)")
    parser.add_argument("--pairs", type=Path, help="the oracle's pairs as Parquet, for the recall")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    out = options.out.resolve()
    if options.inside:
        run_inside(PEERS[options.peer], out, options.workers)
        return
    scratch = (options.scratch or out.parent / "environments").resolve()
    result = run_peer(options.peer, options.source.resolve(), out, options.workers, scratch)
    if options.pairs is not None:
        pairs = pq.read_table(options.pairs)
        names = zip(pairs["name_a"].to_pylist(), pairs["name_b"].to_pylist(), strict=True)
        result["recall"] = recall(names, json.loads((out / "clusters.json").read_text("utf-8")))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
