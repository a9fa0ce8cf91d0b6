"""What this machine's processor is good for: arithmetic, threads, compiler."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Literal

import torch

from stackwright.engine import available_cores
from stackwright.recipe import TrainSettings

Precision = Literal["float32", "bfloat16"]


def has_bfloat16_units() -> bool:
    """Return whether the processor multiplies bfloat16 itself (AVX-512 BF16 or AMX); else it is emulated and slower."""
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return False
    return " avx512_bf16" in flags or " amx_bf16" in flags


def choose_precision(settings: TrainSettings) -> Precision:
    """Resolve `train.precision`: "auto" takes bfloat16 exactly where the processor has units for it.

    benchmarks/training_speed.py has the figures: 1.5 to 1.7 times the speed of float32 on AVX-512 BF16.
    """
    if settings.precision == "auto":
        return "bfloat16" if has_bfloat16_units() else "float32"
    return settings.precision


def choose_compile(settings: TrainSettings) -> bool:
    """Resolve `train.compile`: "auto" compiles on a GPU only.

    On two CPU cores compiling costs more than a tiny run can win back (benchmarks/training_speed.py has both figures).
    """
    if settings.compile == "auto":
        return torch.cuda.is_available() and has_compiler()
    return settings.compile == "on"


def has_compiler() -> bool:
    """Return whether torch.compile finds a C++ compiler."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def choose_threads(settings: TrainSettings) -> int:
    return settings.threads or available_cores()


def processor_name() -> str:
    """Return the processor type, within which training is bit-exact."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
