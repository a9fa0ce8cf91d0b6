"""What this machine's processor is good for: arithmetic, threads, compiler."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from stackwright.engine import available_cores
from stackwright.launch import launched_here, launched_local_rank
from stackwright.recipe import TrainSettings

Precision = Literal["float32", "bfloat16"]

# glibc's names and values in malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_DEFAULT_TRIM_THRESHOLD, _DEFAULT_MMAP_MAX = 128 * 1024, 65_536


def has_bfloat16_units() -> bool:
    """Return whether the processor multiplies bfloat16 itself (AVX-512 BF16 or AMX); else it is emulated and slower."""
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return False
    return " avx512_bf16" in flags or " amx_bf16" in flags


def choose_device() -> torch.device:
    """Return the GPU of this process where there is one, else the CPU."""
    return torch.device("cuda", launched_local_rank()) if torch.cuda.is_available() else torch.device("cpu")


def choose_precision(settings: TrainSettings, device: torch.device) -> Precision:
    """Resolve `train.precision`: "auto" takes bfloat16 on a GPU, and exactly where the processor has units for it.

    benchmarks/training_speed.py has the figures: 1.5 to 1.7 times the speed of float32 on AVX-512 BF16.
    """
    if settings.precision == "auto":
        return "bfloat16" if device.type == "cuda" or has_bfloat16_units() else "float32"
    return settings.precision


def choose_compile(settings: TrainSettings, device: torch.device) -> bool:
    """Resolve `train.compile`: "auto" compiles on a GPU only.

    On two CPU cores compiling costs more than a tiny run can win back (benchmarks/training_speed.py has both figures).
    """
    if settings.compile == "auto":
        return device.type == "cuda" and has_compiler()
    return settings.compile == "on"


def has_compiler() -> bool:
    """Return whether torch.compile finds a C++ compiler."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def choose_threads(settings: TrainSettings) -> int:
    """Resolve `train.threads`: processes on one machine share its cores."""
    return settings.threads or max(available_cores() // launched_here(), 1)


def processor_name(device: torch.device) -> str:
    """Return the type of processor; of a CPU, training is bit-exact within it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Let the C library keep what is freed for what is asked for next, instead of giving it back to the system each time.

    A step frees and asks for the same large tensors again. By default each comes as fresh pages that the system has to find
    and fill with zeros: 82,000 faults in a step of 30 M parameters, a seventh of its time. Nothing happens where the C
    library is not glibc.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(_M_ARENA_MAX, 1)  # a thread that had a heap of its own would keep that too
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(_M_MMAP_MAX, 0)
    try:
        yield
    finally:
        libc.mallopt(_M_ARENA_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD)
        libc.mallopt(_M_MMAP_MAX, _DEFAULT_MMAP_MAX)
        libc.malloc_trim(0)


def forget_peak_memory(device: torch.device) -> None:
    """Begin to measure anew, where the system can: what earlier work took is not training's."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Return the most memory in bytes that training has taken so far: of a GPU what was allocated, else resident memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.exists():
        kilobytes = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:")).split()[1]
        return int(kilobytes) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
