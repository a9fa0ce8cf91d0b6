"""Training on a processor: the same arithmetic, arranged so that less is kept and the products are large.

Two things that torch leaves undone on a CPU, each an operation with its own gradient:

`linear_of` is a matrix product of a cheap function of x (a norm, an activation). Autograd would keep the result of the
function, which is as large as x or larger; here x is kept, which is kept anyway, and the function is computed again.

`attend_in_chunks` is attention for heads that share their keys. It goes through the queries a few at a time, with all heads
of a group in one product (torch's kernel takes them one by one), against no more keys than they see, and computes the
probabilities again for the gradient, as FlashAttention does (Dao et al., arXiv 2205.14135). benchmarks/training_peers.py has
what both are worth.

Letters: B batch, H query heads, K key-value heads, T tokens, S keys that a chunk sees, R queries of a group's heads in a
chunk, D head size.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHUNK_ROWS = 256
"""Rows whose function is computed at a time: they stay in the cache, and no large tensor is made on the way."""

CHUNK_QUERIES = 64
"""Queries at a time: the scores of a chunk stay in the cache, and a causal chunk wastes little on keys it does not see."""


def is_lean(x: Tensor) -> bool:
    """Return whether gradients will be taken, on a processor. A compiler of graphs arranges such things itself."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def linear_of(function: Callable[..., Tensor], x: Tensor, linear: nn.Linear, *parameters: Tensor) -> Tensor:
    """Return `linear(function(x, *parameters))`, keeping x for the gradient and not the result of the function.

    Args:
        function: works on each row of x for itself.
    """
    if not is_lean(x):
        product: Tensor = linear(function(x, *parameters))
        return product
    return _linear_of(function, dtype_of_products(x), x, linear.weight, linear.bias, *parameters)


def add_to(added: Tensor, x: Tensor) -> Tensor:
    """Return `x + added`, in the memory of `added` where its type allows; nothing else may need that."""
    return added.add_(x) if is_lean(x) and added.dtype == x.dtype else x + added


def normed_linear(norm: nn.LayerNorm, x: Tensor, linear: nn.Linear) -> Tensor:
    """Return `linear(norm(x))`, keeping x for the gradient."""

    def normed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)

    return linear_of(normed, x, linear, norm.weight, norm.bias)


@dataclass(frozen=True)
class Chunk:
    """Queries `start` to `stop`, which see keys from `first` on.

    Attributes:
        seen: which of the last keys before `stop` each query sees, as many as the mask has columns; the keys before them are
            seen by all. [T, S], or [B, 1, T, S] where rows differ.
    """

    first: int
    start: int
    stop: int
    seen: Tensor


def attend_in_chunks(q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, chunks: Sequence[Chunk]) -> Tensor:
    """Return the values [B, H, T, D] that each query sees, weighed by softmax(q k^T / sqrt(D))."""
    dtype = dtype_of_products(v_BKTD)
    return _chunked_attention(q_BHTD.to(dtype), k_BKTD.to(dtype), v_BKTD.to(dtype), chunks)


def dtype_of_products(x: Tensor) -> torch.dtype:
    """Return the type in which a tensor is multiplied: that of autocast where it is on, else its own."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class _LinearOf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], dtype: torch.dtype, x: Tensor, *parameters: Tensor) -> Tensor:
        weight, bias, *others = parameters
        ctx.function, ctx.dtype = function, dtype
        ctx.save_for_backward(x, weight, *others)
        x_NI, product = x.flatten(0, -2), torch.empty(*x.shape[:-1], len(weight), dtype=dtype)
        value_NI = _scratch("value", x_NI.shape, dtype)
        for rows in row_chunks(len(x_NI), CHUNK_ROWS):
            value_NI[rows] = function(x_NI[rows], *others)
        torch.addmm(bias.to(dtype), value_NI, weight.to(dtype).T, out=product.flatten(0, -2))
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *others = (tensor.detach() for tensor in ctx.saved_tensors)
        x_NI, outer_NO = x.flatten(0, -2), outer.flatten(0, -2)
        value_NI, inner_NI = (_scratch(name, x_NI.shape, ctx.dtype) for name in ("value", "inner"))
        torch.mm(outer_NO, weight.to(ctx.dtype), out=inner_NI)
        of_x_NI, of_others = torch.empty_like(x_NI), [torch.zeros_like(parameter) for parameter in others]
        inputs = [parameter.requires_grad_() for parameter in others]
        for rows in row_chunks(len(x_NI), CHUNK_ROWS):
            own = x_NI[rows].requires_grad_()
            with torch.enable_grad():
                value = ctx.function(own, *inputs)
            value_NI[rows] = value.detach()
            of_x_NI[rows], *found = torch.autograd.grad(value, [own, *inputs], inner_NI[rows].to(value.dtype))
            for total, part in zip(of_others, found, strict=True):
                total += part
        of_weight, of_bias = (outer_NO.T @ value_NI).to(weight.dtype), outer_NO.sum(0).to(weight.dtype)
        return None, None, of_x_NI.view_as(x), of_weight, of_bias, *of_others


def row_chunks(num_rows: int, size: int) -> Iterator[slice]:
    """Yield slices of `size` rows, of which the last may reach beyond the end."""
    for start in range(0, num_rows, size):
        yield slice(start, start + size)


class _Scratches(threading.local):
    """What each thread has: two that train at once must not write to the same memory."""

    def __init__(self) -> None:
        self.tensors: dict[tuple[str, torch.dtype], Tensor] = {}


_scratches = _Scratches()


def _scratch(name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return memory for what is needed until the next product only; the same for all layers.

    Asked for anew each time, it would leave holes: the C library aligns what torch asks for, and so cannot put a tensor
    where one of the same size was.
    """
    count, tensors = math.prod(shape), _scratches.tensors
    if (name, dtype) not in tensors or tensors[name, dtype].numel() < count:
        tensors[name, dtype] = torch.empty(count, dtype=dtype)
    return tensors[name, dtype][:count].view(shape)


def forget_scratch() -> None:
    """Give back the memory that this thread's products share."""
    _scratches.tensors.clear()


class _ChunkedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, chunks: Sequence[Chunk]) -> Tensor:
        ctx.chunks = chunks
        ctx.save_for_backward(q_BHTD, k_BKTD, v_BKTD)
        y_BHTD = _empty_by_token(q_BHTD)
        with torch.autocast(q_BHTD.device.type, enabled=False):
            for chunk in chunks:
                queries, keys = slice(chunk.start, chunk.stop), slice(chunk.first, chunk.stop)
                q_BKRD = _grouped(q_BHTD[:, :, queries] * q_BHTD.size(-1) ** -0.5, k_BKTD.size(1))
                p_BKRS = _probabilities(q_BKRD, k_BKTD[:, :, keys], chunk)
                y_BHTD[:, :, queries] = _by_head(p_BKRS @ v_BKTD[:, :, keys], q_BHTD.size(1))
        return y_BHTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer_BHTD: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_BHTD, k_BKTD, v_BKTD = ctx.saved_tensors
        H, K, scale = q_BHTD.size(1), k_BKTD.size(1), q_BHTD.size(-1) ** -0.5
        of_q_BHTD = _empty_by_token(q_BHTD)
        of_k_BKTD, of_v_BKTD = (torch.zeros(k_BKTD.shape, dtype=torch.float32) for _ in range(2))
        for chunk in ctx.chunks:
            queries, keys = slice(chunk.start, chunk.stop), slice(chunk.first, chunk.stop)
            q_BKRD, outer_BKRD = _grouped(q_BHTD[:, :, queries] * scale, K), _grouped(outer_BHTD[:, :, queries], K)
            p_BKRS = _probabilities(q_BKRD, k_BKTD[:, :, keys], chunk)
            of_v_BKTD[:, :, keys] += p_BKRS.transpose(-2, -1) @ outer_BKRD
            of_p_BKRS = outer_BKRD @ v_BKTD[:, :, keys].transpose(-2, -1)
            # The derivative of softmax: p (of_p - sum over keys of p of_p).
            of_scores_BKRS = torch._softmax_backward_data(of_p_BKRS, p_BKRS, -1, p_BKRS.dtype)
            of_q_BHTD[:, :, queries] = _by_head(of_scores_BKRS @ k_BKTD[:, :, keys], H) * scale
            of_k_BKTD[:, :, keys] += of_scores_BKRS.transpose(-2, -1) @ q_BKRD
        return of_q_BHTD, of_k_BKTD.to(k_BKTD.dtype), of_v_BKTD.to(v_BKTD.dtype), None


_linear_of: Callable[..., Tensor] = _LinearOf.apply
_chunked_attention: Callable[[Tensor, Tensor, Tensor, Sequence[Chunk]], Tensor] = _ChunkedAttention.apply


def _empty_by_token(q_BHTD: Tensor) -> Tensor:
    """Return a new [B, H, T, D] in which the heads of a token lie together, as the next product wants them."""
    B, H, T, D = q_BHTD.shape
    return torch.empty(B, T, H, D, dtype=q_BHTD.dtype).transpose(1, 2)


def _grouped(x_BHTD: Tensor, num_groups: int) -> Tensor:
    """Return the queries of all heads of a group one under another: [B, K, R, D]."""
    return x_BHTD.reshape(x_BHTD.size(0), num_groups, -1, x_BHTD.size(-1))


def _by_head(x_BKRD: Tensor, num_heads: int) -> Tensor:
    return x_BKRD.view(x_BKRD.size(0), num_heads, -1, x_BKRD.size(-1))


def _probabilities(q_BKRD: Tensor, k_BKSD: Tensor, chunk: Chunk) -> Tensor:
    scores_BKRS = q_BKRD @ k_BKSD.transpose(-2, -1)
    B, K, _, S = scores_BKRS.shape
    masked = scores_BKRS.view(B, K, -1, chunk.stop - chunk.start, S)[..., S - chunk.seen.size(-1) :]
    hidden = ~chunk.seen
    masked.masked_fill_(hidden if hidden.dim() == 2 else hidden.unsqueeze(2), -torch.inf)
    return scores_BKRS.softmax(-1)
