"""Cross entropy of the next token, over the tokens that count, in the memory of a few logits.

The loss of a step is a sum divided by the number of valid targets of the whole step. Averaging the averages of micro-batches
instead would weigh a token by how much padding stands beside it.

Logits are the largest tensor of training: a vocabulary for every token. They are made for a few tokens at a time, and the
gradients of the head's weight and of the stream are taken at once, while a chunk's logits are there: afterwards nothing of
them is needed, so the logits of a batch never exist together, neither in the forward pass nor in the backward one.

Letters: N tokens of the batch, C width, V vocabulary (padded).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from stackwright.data.targets import IGNORED_TARGET
from stackwright.model.lean import dtype_of_products, row_chunks
from stackwright.model.masks import Sight
from stackwright.model.transformer import Transformer

CHUNK_TOKENS = {"cpu": 256, "cuda": 4096}
"""Rows of logits made at a time. With 4,224 entries a chunk of 256 is 4 MB and stays in a processor's cache; a GPU wants
large products, and each chunk adds to the gradient of the whole weight."""


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
    return _chunked_cross_entropy(hidden_NC, model.head.weight, targets_BT.flatten())


@torch.no_grad()
def target_nats(model: Transformer, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """Return -log p of each target in nats, float32 [B, T]; 0 where a target is ignored. Takes no gradients."""
    hidden_NC, targets_N = model.hidden_states(inputs_BT).flatten(0, 1), targets_BT.flatten()
    nats_N = torch.empty(len(targets_N), dtype=torch.float32, device=hidden_NC.device)
    for chunk in _chunks(hidden_NC):
        logits_NV = model.head(hidden_NC[chunk]).float()
        nats_N[chunk] = F.cross_entropy(logits_NV, targets_N[chunk], ignore_index=IGNORED_TARGET, reduction="none")
    return nats_N.view_as(targets_BT)


def num_valid(targets_BT: Tensor) -> int:
    """Return the number of targets that carry loss."""
    return int((targets_BT != IGNORED_TARGET).sum())


def _chunks(hidden_NC: Tensor) -> Iterator[slice]:
    return row_chunks(len(hidden_NC), CHUNK_TOKENS.get(hidden_NC.device.type, 256))


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Summed cross entropy of softmax(hidden weight^T); its gradients are computed with it, chunk by chunk.

    The derivative by a logit is p - 1 at the target and p elsewhere; both products follow from it by the chain rule.
    Products run in the type of autocast where it is on; sums over chunks are float32.
    """

    @staticmethod
    def forward(ctx: Any, hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor) -> Tensor:
        dtype = dtype_of_products(weight_VC)
        wants_gradients = any(ctx.needs_input_grad)
        used_VC = weight_VC.to(dtype)
        total = torch.zeros((), dtype=torch.float32, device=hidden_NC.device)
        if wants_gradients:
            hidden_grad_NC = torch.empty_like(hidden_NC)
            weight_grad_VC = torch.zeros_like(weight_VC, dtype=torch.float32)
        with torch.autocast(hidden_NC.device.type, enabled=False):
            for chunk in _chunks(hidden_NC):
                used_NC, chunk_N = hidden_NC[chunk].to(dtype), targets_N[chunk]
                log_p_NV = F.log_softmax((used_NC @ used_VC.T).float(), dim=-1)
                total += F.nll_loss(log_p_NV, chunk_N, ignore_index=IGNORED_TARGET, reduction="sum")
                if wants_gradients:
                    logit_grad_NV = _logit_gradients(log_p_NV, chunk_N).to(dtype)
                    hidden_grad_NC[chunk] = logit_grad_NV @ used_VC
                    weight_grad_VC += logit_grad_NV.T @ used_NC
        if wants_gradients:
            ctx.save_for_backward(hidden_grad_NC, weight_grad_VC.to(weight_VC.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_grad_NC, weight_grad_VC = ctx.saved_tensors
        return hidden_grad_NC * outer, weight_grad_VC * outer, None


def _logit_gradients(log_p_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Return the derivative of the summed loss by the logits; overwrites `log_p_NV`."""
    counts_N1 = (targets_N != IGNORED_TARGET).unsqueeze(1)
    gradients_NV = log_p_NV.exp_()
    gradients_NV.scatter_add_(1, targets_N.clamp(min=0).unsqueeze(1), -torch.ones_like(gradients_NV[:, :1]))
    return gradients_NV.mul_(counts_N1)


_chunked_cross_entropy: Callable[[Tensor, Tensor, Tensor], Tensor] = _ChunkedCrossEntropy.apply
