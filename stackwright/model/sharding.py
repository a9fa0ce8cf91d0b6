"""A model shared out over ranks by the rows of its parameters (FSDP2), and what it has in common with one that is whole.

`fully_shard` (Zhao et al., arXiv 2304.11277, in its second form) leaves each rank a slice of the rows of every parameter,
of its gradient and of the optimizer's moments; a block's weights are gathered when the block runs and let go after it. The
functions here take a parameter of either kind, so that first weights, checkpoints and the optimizer are written once: a
whole parameter is one whose rows are all here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from stackwright.model.transformer import Transformer


def shard_model(model: Transformer, mesh: DeviceMesh) -> None:
    """Share a model out over the ranks of a mesh: its blocks one by one, then what is around them."""
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    # Training calls this one, to make logits a few at a time; weights must be gathered for it as for a forward pass.
    register_fsdp_forward_method(model, "hidden_states")


def local_rows(tensor: Tensor) -> Tensor:
    """Return the rows of a parameter, or of its gradient, that this rank holds: what is written to them is written to it."""
    to_local = getattr(tensor, "to_local", None)
    rows: Tensor = tensor if to_local is None else to_local()
    return rows


def first_row(tensor: Tensor) -> int:
    """Return the number of the first row that this rank holds: ranks hold ceil(rows / ranks) each, the last ones fewer."""
    mesh = getattr(tensor, "device_mesh", None)
    if mesh is None:
        return 0
    size = -(-tensor.shape[0] // int(mesh.size()))
    return min(int(mesh.get_local_rank()) * size, tensor.shape[0])


def whole_tensor(tensor: Tensor) -> Tensor:
    """Return all rows. Of a parameter that is shared out, every rank must ask at the same time."""
    gather = getattr(tensor, "full_tensor", None)
    whole: Tensor = tensor if gather is None else gather()
    return whole


@torch.no_grad()
def set_rows(parameter: Tensor, whole: Tensor) -> None:
    """Give a parameter its values, of which this rank takes its own rows."""
    rows, first = local_rows(parameter), first_row(parameter)
    rows.copy_(whole[first : first + len(rows)])
