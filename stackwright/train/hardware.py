"""What this machine's processor is good for: arithmetic, threads, compiler."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from pathlib import Path
from typing import Literal

import torch

from stackwright.engine import available_cores
from stackwright.launch import launched_here, launched_local_rank
from stackwright.recipe import TrainSettings

Precision = Literal["float32", "bfloat16"]


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


def peak_memory(device: torch.device) -> int:
    """Return the most memory in bytes that training has taken so far: of a GPU what was allocated, else resident memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
