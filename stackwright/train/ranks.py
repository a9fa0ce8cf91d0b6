"""Several processes that train one model: how they find each other, and what they say.

    torchrun --nproc-per-node 8 -m stackwright build starcoder2-3b

starts the command once for each GPU. Rank 0 does every stage; the others wait, take their part in the training, and are
done. They need the run folder on storage that all of them see. Over the wire go numbers and tensors, never an object.
"""

from __future__ import annotations

import datetime
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from stackwright.launch import launched_rank, launched_size
from stackwright.train.hardware import choose_device

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store
    from torch.distributed.device_mesh import DeviceMesh

_ORDER = "stackwright/order"  # what rank 0 wants of the others
_PATIENCE = datetime.timedelta(minutes=30)
"""How long a rank waits for another in the middle of training; saving a checkpoint of the largest model takes less."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together. Without a group there is one, and nothing is said."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh | None = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def total(self, *values: float) -> tuple[float, ...]:
        """Return the sum of each value over the ranks; every rank must call."""
        if self.mesh is None:
            return values
        import torch.distributed as dist

        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return tuple(sums.tolist())

    def wait(self) -> None:
        """Return when every rank has come here."""
        self.total(0.0)


def one_rank() -> Ranks:
    """Return the one process of a training without a launcher."""
    return Ranks(0, 1, choose_device())


@contextmanager
def open_ranks() -> Iterator[Ranks]:
    """Connect the processes that were launched, for one training."""
    if launched_size() == 1:
        yield one_rank()
        return
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    device, rank, size = choose_device(), launched_rank(), launched_size()
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=_store(), rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        yield Ranks(rank, size, device, init_device_mesh(device.type, (size,)))
    finally:
        # A thread of the group that outlives the interpreter aborts the process; models and groups refer to each other.
        gc.collect()
        dist.destroy_process_group()
        gc.collect()


@contextmanager
def leading() -> Iterator[None]:
    """Be the rank that the others of a launch wait for; at the end, however it comes, they are let go."""
    store = _store()
    try:
        yield
    finally:
        store.set(_ORDER, json.dumps(None))


def order_training(order: dict[str, str]) -> None:
    """Tell the ranks that wait in `await_order` what to train on; of one process nothing happens."""
    if launched_size() > 1:
        _store().set(_ORDER, json.dumps(order))


def await_order() -> dict[str, str] | None:
    """Return what rank 0 wants trained; None where it had nothing to train. It may take as long as the stages before it."""
    import torch.distributed as dist

    while True:
        try:
            order: dict[str, str] | None = json.loads(_store().get(_ORDER))
            return order
        except dist.DistStoreError as error:  # nothing was said yet
            if "timeout" not in str(error).lower():
                raise


@cache
def _store() -> Store:
    """Return the store through which the processes of this launch find each other."""
    import torch.distributed as dist

    find: Any = dist.rendezvous  # type: ignore[attr-defined]
    store: Store = next(iter(find("env://", timeout=_PATIENCE)))[0]
    return store
