"""A build in which one rank is killed while it saves a checkpoint: `interrupted.py RANK STEP build ARGUMENTS...`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from stackwright.cli import main
from stackwright.model.tensor_file import save_tensors
from stackwright.train import checkpoint


def interrupt(rank: int, step: int) -> None:
    """Let a rank die in the middle of its file of the checkpoint of a step."""

    def save_or_die(path: Path, tensors: Mapping[str, Tensor]) -> None:
        save_tensors(path, tensors)
        if int(os.environ.get("RANK", "0")) == rank and f"{step:06d}" in path.parent.name:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save_tensors = save_or_die  # type: ignore[attr-defined]


if __name__ == "__main__":
    interrupt(int(sys.argv[1]), int(sys.argv[2]))
    del sys.argv[1:3]
    main()
