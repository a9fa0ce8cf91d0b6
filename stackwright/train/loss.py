"""Cross entropy of the next token, over the tokens that count.

The loss of a step is a sum divided by the number of valid targets of the whole step. Averaging the averages of micro-batches
instead would weigh a token by how much padding stands beside it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stackwright.data.loader import IGNORED_TARGET
from stackwright.model.masks import Sight
from stackwright.model.transformer import Transformer

CHUNK_TOKENS = 256
"""Rows of logits made at a time. With 4,224 entries a chunk is 4 MB and stays in the cache: 1.2 times the speed of one piece
on two cores (benchmarks/training_speed.py), and a fraction of its memory."""


def summed_loss(
    model: Transformer,
    inputs_BT: Tensor,
    targets_BT: Tensor,
    sight: Sight | None = None,
    positions_BT: Tensor | None = None,
) -> Tensor:
    """Return the sum over valid targets of -log p(target), in nats, as a float32 scalar.

    Args:
        sight, positions_BT: as for `Transformer.hidden_states`.
    """
    hidden_NC = model.hidden_states(inputs_BT, sight, positions_BT).flatten(0, 1)
    targets_N = targets_BT.flatten()
    total = torch.zeros((), dtype=torch.float32, device=hidden_NC.device)
    for start in range(0, len(targets_N), CHUNK_TOKENS):
        logits_NV = model.head(hidden_NC[start : start + CHUNK_TOKENS]).float()
        chunk_N = targets_N[start : start + CHUNK_TOKENS]
        total = total + F.cross_entropy(logits_NV, chunk_N, ignore_index=IGNORED_TARGET, reduction="sum")
    return total


def num_valid(targets_BT: Tensor) -> int:
    """Return the number of targets that carry loss."""
    return int((targets_BT != IGNORED_TARGET).sum())
