"""What a launcher (torchrun) tells its processes in the environment. A process without one is rank 0 of 1."""

from __future__ import annotations

import os

_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")


def launched_size() -> int:
    """Return the number of processes that were started for one command."""
    return _number("WORLD_SIZE", 1)


def launched_rank() -> int:
    """Return the number of this process among them."""
    return _number("RANK", 0)


def launched_here() -> int:
    """Return how many of them are on this machine and share its cores."""
    return _number("LOCAL_WORLD_SIZE", 1)


def launched_local_rank() -> int:
    """Return the number of this process among those on this machine."""
    return _number("LOCAL_RANK", 0)


def _number(name: str, default: int) -> int:
    # A variable of such a short name may have another meaning; together with the address it has not.
    return int(os.environ.get(name, default)) if all(key in os.environ for key in _ADDRESS) else default
