"""What long work reports while it runs: log records, progress, and the resources it used.

The library logs under `stackwright.*` and reports progress through the `Progress` interface; only the command line
draws bars and prints.
"""

from __future__ import annotations

import logging
import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def get_logger(area: str) -> logging.Logger:
    """Return the logger `stackwright.<area>`."""
    return logging.getLogger(f"stackwright.{area}")


class Task(Protocol):
    """One piece of work with a known or unknown amount."""

    def advance(self, amount: float) -> None:
        """Report that `amount` more units are done."""

    def note(self, text: str) -> None:
        """Show a short text beside the bar, such as the current loss."""


class Progress(Protocol):
    """Where stages report what they are doing."""

    def task(self, label: str, total: float | None, unit: str) -> Task:
        """Begin a task of `total` units; None when the amount is not known."""


class _SilentTask:
    def advance(self, amount: float) -> None:
        del amount

    def note(self, text: str) -> None:
        del text


class SilentProgress:
    """Reports to nobody: the default of the library."""

    def task(self, label: str, total: float | None, unit: str) -> Task:
        del label, total, unit
        return _SilentTask()


def process_tree_bytes(root: int) -> int:
    """Return the summed resident memory of a process and all its descendants, in bytes. Zero where /proc is absent."""
    parents: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # The command name stands in brackets and may hold blanks: the fields are counted after the last bracket.
            fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue  # the process ended while we looked
        process = int(entry.name)
        parents.setdefault(int(fields[1]), []).append(process)
        resident[process] = int(fields[21]) * PAGE_BYTES
    total, pending = 0, [root]
    while pending:
        process = pending.pop()
        total += resident.get(process, 0)
        pending.extend(parents.get(process, ()))
    return total


def cpu_seconds() -> float:
    """Return the CPU seconds used by this process and its finished children."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class ResourceMeter:
    """Measures wall seconds, CPU seconds and the peak memory of the process tree while it is entered."""

    def __init__(self, interval_seconds: float = 0.5) -> None:
        self._interval_seconds = interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory-meter", daemon=True)
        self._wall_start = self._cpu_start = 0.0
        self.peak_bytes = 0

    def __enter__(self) -> ResourceMeter:
        self._wall_start, self._cpu_start = time.monotonic(), cpu_seconds()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, process_tree_bytes(os.getpid()))
            if self._stop.wait(self._interval_seconds):
                return

    @property
    def wall_seconds(self) -> float:
        return time.monotonic() - self._wall_start

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds() - self._cpu_start


@contextmanager
def file_log(path: Path) -> Iterator[None]:
    """Append every record of `stackwright.*` to a file while entered."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("stackwright")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(logging.INFO, logger.getEffectiveLevel()))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()
