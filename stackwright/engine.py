"""Four verbs over shards: map shards, partition by key, reduce a partition, read a table.

A stage is written with pure functions of one shard or partition number. The functions read and write Parquet
themselves; only small JSON results cross a process border. Each finished shard leaves its result in the stage's
scratch folder, so a killed stage goes on with the shards that are missing. Nothing depends on the number of workers
or on the order in which they finish: results come back in the order of the shards.

A process pool runs the functions on one machine. Another runner (Ray) offers the same `run` and nothing else changes.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from stackwright.artifact import Artifact, Staging, Table, read_batch, write_batches
from stackwright.errors import EngineError
from stackwright.files import write_json
from stackwright.log import Progress, SilentProgress, Task
from stackwright.recipe import Recipe

Result = dict[str, Any]
"""What a shard function returns: a small JSON object, never text of documents."""

ShardFunction = Callable[[Any], Result]
"""A pure function of one shard's description: a number, or what the stage planned for it."""

MAX_SHARD_BYTES = 64 * 1024 * 1024
"""Text in one shard at most."""

INLINE_BYTES = 1_000_000_000
PARENT_BYTES = 400_000_000
WORKER_BYTES = 700_000_000
"""Resident memory to plan for: one process that does everything; else the process that leads, and each worker, which holds
one full shard of text with its tables (benchmarks/pipeline_memory.py measures them)."""


class Runner(Protocol):
    """Runs one function over shard numbers and yields results as they finish."""

    def run(self, function: ShardFunction, shards: Mapping[int, Any]) -> Iterator[tuple[int, Result]]:
        """Yield (position, result) in any order; raises what the function raised."""

    def close(self) -> None:
        """Give back what the runner holds; `run` may be called again."""


class InlineRunner:
    """Runs every shard in this process, one after another."""

    def close(self) -> None:
        """Nothing to end."""

    def run(self, function: ShardFunction, shards: Mapping[int, Any]) -> Iterator[tuple[int, Result]]:
        for index, shard in shards.items():
            yield index, function(shard)


def _start_worker(parent: int) -> None:
    """Set up a worker: it leaves Ctrl-C to its parent, dies with it, and uses one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no orphan survives a killed build
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)  # the parent died before the call above
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


class ProcessRunner:
    """Runs shards in a pool of freshly started processes, which stays until `close`: starting one takes a second."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def run(self, function: ShardFunction, shards: Mapping[int, Any]) -> Iterator[tuple[int, Result]]:
        if self._pool is None:
            self._pool = self._start()
        futures = {self._pool.submit(function, shard): index for index, shard in shards.items()}
        try:
            yield from self._drain(futures)
        except BrokenProcessPool as error:
            lost = sorted(futures[future] for future in futures if not future.done() or future.exception())
            raise EngineError(
                f"a worker died while shards {lost[:8]} were under way (killed, or out of memory)",
                "run the same command again with fewer --workers; finished shards are kept",
            ) from error
        finally:
            if not all(future.done() for future in futures):
                self.close()  # stopped half-way: what is under way is not wanted any more

    def _start(self) -> ProcessPoolExecutor:
        # A fresh interpreter inherits no threads and no locks of libraries, which a fork would.
        return ProcessPoolExecutor(
            max_workers=self.workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(os.getpid(),),
        )

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    @staticmethod
    def _drain(futures: Mapping[Future[Result], int]) -> Iterator[tuple[int, Result]]:
        pending: set[Future[Result]] = set(futures)
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                yield futures[future], future.result()


def available_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@dataclass(frozen=True)
class Engine:
    """Runs shard functions within a number of workers and a limit of memory.

    `memory_bytes` bounds the peak of the summed resident memory of the process tree: fewer workers run when it does
    not hold them all, and a limit that holds not even one is refused with the least that works.
    """

    workers: int = 1
    memory_bytes: int | None = None
    progress: Progress = field(default_factory=SilentProgress)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise EngineError(f"--workers {self.workers} is not positive", "give 1 or more")
        if self.memory_bytes is not None and self.memory_bytes < INLINE_BYTES:
            raise EngineError(
                f"--memory of {self.memory_bytes} bytes does not hold the work of one process",
                f"give at least {-(-INLINE_BYTES // 1_000_000)}MB",
            )

    @property
    def concurrency(self) -> int:
        """Workers that fit into the memory limit."""
        if self.memory_bytes is None:
            return self.workers
        return max(min(self.workers, (self.memory_bytes - PARENT_BYTES) // WORKER_BYTES), 1)

    @cached_property
    def _runner(self) -> Runner:
        return InlineRunner() if self.concurrency == 1 else ProcessRunner(self.concurrency)

    def close(self) -> None:
        """End the worker processes; they start again when they are needed."""
        self._runner.close()

    def map_shards(self, step: str, function: ShardFunction, shards: Sequence[Any], scratch: Path) -> list[Result]:
        """Run `function(shard)` for every shard and return the results in the order of the shards.

        Shards whose result already lies under `scratch/STEP` are not run again. `function` and shards must pickle: a
        module-level function, with its settings bound by `functools.partial`.
        """
        folder = scratch / step
        task = self.progress.task(step, len(shards), "shards")
        results = dict(_finished_results(folder, len(shards)))
        task.advance(len(results))
        missing = {index: shard for index, shard in enumerate(shards) if index not in results}
        for index, result in self._run_missing(function, missing):
            write_json(folder / f"{index:05d}.json", result)
            results[index] = result
            _advance(task, result)
        return [results[index] for index in range(len(shards))]

    def reduce_partitions(self, step: str, function: ShardFunction, num_partitions: int, scratch: Path) -> list[Result]:
        """Run `function(partition)` for every partition: `map_shards` over what `partition_by_key` wrote."""
        return self.map_shards(step, function, range(num_partitions), scratch)

    def _run_missing(self, function: ShardFunction, missing: Mapping[int, Any]) -> Iterable[tuple[int, Result]]:
        return self._runner.run(function, missing) if missing else ()


def _advance(task: Task, result: Result) -> None:
    task.advance(1)
    if "note" in result:
        task.note(str(result["note"]))


def _finished_results(folder: Path, num_shards: int) -> Iterator[tuple[int, Result]]:
    for index in range(num_shards):
        path = folder / f"{index:05d}.json"
        if path.is_file():
            yield index, json.loads(path.read_text("utf-8"))


def partition_of(key: str, num_partitions: int) -> int:
    """Return the partition of a key: the same on every machine and in every process."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest(), "big") % num_partitions


def partition_by_key(rows: pa.Table, key: str, num_partitions: int, folder: Path, shard: int) -> None:
    """Write the rows of one shard, one table per partition of column `key`; called by the shard's own worker."""
    partitions = [partition_of(value, num_partitions) for value in rows.column(key).to_pylist()]
    members: list[list[int]] = [[] for _ in range(num_partitions)]
    for row, partition in enumerate(partitions):
        members[partition].append(row)
    write_batches(partition_file(folder, shard), [rows.take(pa.array(indices, pa.int64())) for indices in members])


def partition_file(folder: Path, shard: int) -> Path:
    """Return the file that `partition_by_key` writes for a shard."""
    return folder / f"shard-{shard:05d}.arrow"


def read_partition(folder: Path, partition: int, sort_by: Sequence[str]) -> pa.Table:
    """Return the rows that all shards sent to one partition, sorted by `sort_by`, with the number of their `shard`.

    Every shard must have called `partition_by_key`, if only with no rows.
    """
    tables = []
    for shard, file in enumerate(sorted(folder.glob("shard-*.arrow"))):
        rows = read_batch(file, partition)
        tables.append(rows.append_column("shard", pa.array([shard] * rows.num_rows, pa.int64())))
    return pa.concat_tables(tables).sort_by([(column, "ascending") for column in sort_by])


def read_table(table: Table, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the parts of a table one after another, in document order."""
    for index in range(len(table.parts)):
        yield table.read_part(index, columns)


class Removals(Protocol):
    """What authors had taken out: collect neither lists nor reads it in."""

    @property
    def digest(self) -> str:
        """A digest of all that is removed; empty when nothing is."""

    @property
    def receipts(self) -> Sequence[str]:
        """The ids of the receipts of all removals."""

    @property
    def content_ids(self) -> frozenset[str]:
        """Contents that are removed wherever they lie."""

    def covers_repository(self, repo: str) -> bool:
        """Return whether a whole repository is removed."""

    def covers(self, repo: str, revision: str, path: str, size_bytes: int) -> bool:
        """Return whether a file is removed, as far as can be told without reading it."""


class NothingRemoved:
    """The removals of a run in which nobody asked for any."""

    digest = ""
    receipts: Sequence[str] = ()
    content_ids: frozenset[str] = frozenset()

    def covers_repository(self, repo: str) -> bool:
        del repo
        return False

    def covers(self, repo: str, revision: str, path: str, size_bytes: int) -> bool:
        del repo, revision, path, size_bytes
        return False


@dataclass(frozen=True)
class StageContext:
    """Everything a stage may use. Stages share nothing else."""

    recipe: Recipe
    inputs: Mapping[str, Artifact]
    staging: Staging
    engine: Engine
    removals: Removals = field(default_factory=NothingRemoved)

    @property
    def progress(self) -> Progress:
        return self.engine.progress
