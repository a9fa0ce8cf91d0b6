"""A few tokens of one sequence through a small decoder on a processor, as one compiled function (numba).

In torch a small model spends half of its time on calling operations. Here a whole pass is one call, and every matrix is read
once, by all threads, whatever the number of tokens: so a guess of a few tokens (`speculative.py`) costs little more than the
one token it begins with. The arithmetic is that of the forward pass, in 32 bits; sums have another order.

Letters as in `rows.py`, but for one sequence with T new tokens; P panels of `PANEL` outputs, I inputs, O outputs: P x PANEL,
filled up with zeros.
"""

# Numba reads these functions, not a type checker: it has no types of its own to give.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor, nn

from stackwright.generate.speculative import MOST_GUESSED
from stackwright.model.kv_cache import RowsCache
from stackwright.model.transformer import Block, Transformer

PANEL = 64
"""Outputs that one thread computes at a time: their sums stay in the nearest cache."""

MOST_TOKENS = 1 + MOST_GUESSED
"""Tokens of one pass. For more than these torch's matrix products are quicker."""

_FAST = {"contract", "reassoc", "arcp", "nsz", "afn"}  # sums in any order; infinities keep their meaning
_GELU, _GELU_CUBE = np.float32(math.sqrt(2 / math.pi)), np.float32(math.sqrt(2 / math.pi) * 0.044715)

_STORE, _ADD, _ACTIVATE = 0, 1, 2  # what is done with the outputs of a layer

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Matrices:
    """One kind of linear layer of all L blocks: weights [L, P, I, PANEL] and biases [L, O]."""

    weights: Floats
    biases: Floats


class CompiledDecoder:
    """Continues one sequence on a cache that the forward pass has filled. Keeps the weights as they are now."""

    most_tokens = MOST_TOKENS

    def __init__(self, model: Transformer) -> None:
        config = model.config
        blocks = [block for block in model.blocks if isinstance(block, Block)]
        scale = config.head_dim**-0.5
        qkv = [_folded(block.attention_norm, block.attention.qkv_proj) for block in blocks]
        for weight_OI, bias_O in qkv:  # scores need no scaling when the queries have it
            weight_OI[: config.hidden_size] *= scale
            bias_O[: config.hidden_size] *= scale
        up = [_folded(block.feed_forward_norm, block.feed_forward.up_proj) for block in blocks]
        self._qkv, self._up = _packed(qkv), _packed(up)
        self._out = _packed([_arrays(block.attention.out_proj) for block in blocks])
        self._down = _packed([_arrays(block.feed_forward.down_proj) for block in blocks])
        self._head = _packed([_folded(model.final_norm, model.head)])
        self._tokens, self._positions = _array(model.token_embedding.weight), _array(model.position_embedding.weight)
        self._sizes = (config.num_kv_heads, config.num_heads // config.num_kv_heads, config.head_dim)
        self._eps, self._vocab_size = np.float32(config.norm_eps), config.vocab_size

    def step(self, ids: Sequence[int], cache: RowsCache, row: int) -> Tensor:
        """Add a few tokens to one row of a cache and return the scores [T, V] of the one after each of them."""
        length = cache.lengths[row]
        assert length + len(ids) <= cache.capacity  # compiled code does not look
        scores_TO = _step(
            np.array(ids),
            length,
            row,
            cache.keys_LBKTD.numpy(),
            cache.values_LBKTD.numpy(),
            self._tokens,
            self._positions,
            (self._qkv.weights, self._out.weights, self._up.weights, self._down.weights, self._head.weights),
            (self._qkv.biases, self._out.biases, self._up.biases, self._down.biases, self._head.biases),
            self._sizes,
            self._eps,
        )
        cache.set_length(row, length + len(ids))
        return torch.from_numpy(scores_TO[:, : self._vocab_size])


def _array(weight: Tensor) -> Floats:
    return np.array(weight.detach().numpy(), dtype=np.float32)


def _arrays(module: nn.Linear) -> tuple[Floats, Floats]:
    return _array(module.weight), _array(module.bias)


def _folded(norm: nn.LayerNorm, module: nn.Linear) -> tuple[Floats, Floats]:
    """Return a layer that takes what is normalised but not yet scaled: gain and shift of the norm become its own."""
    weight_OI = _array(module.weight)
    bias_O = weight_OI @ _array(norm.bias)
    if module.bias is not None:  # the head has none
        bias_O += _array(module.bias)
    return weight_OI * _array(norm.weight), bias_O


def _packed(layers: Sequence[tuple[Floats, Floats]]) -> _Matrices:
    num_outputs, num_inputs = layers[0][0].shape
    num_panels = -(-num_outputs // PANEL)
    weights_LOI = np.zeros((len(layers), num_panels * PANEL, num_inputs), dtype=np.float32)
    biases_LO = np.zeros((len(layers), num_panels * PANEL), dtype=np.float32)
    for index, (weight_OI, bias_O) in enumerate(layers):
        weights_LOI[index, :num_outputs], biases_LO[index, :num_outputs] = weight_OI, bias_O
    panels = weights_LOI.reshape(len(layers), num_panels, PANEL, num_inputs)
    return _Matrices(np.ascontiguousarray(panels.transpose(0, 1, 3, 2)), biases_LO)


@njit(fastmath=_FAST, cache=True, nogil=True)  # a server answers others meanwhile
def _step(ids, length, row, keys_LBKTD, values_LBKTD, tokens_VC, positions_TC, weights, biases, sizes, eps):
    """Return the scores [T, O] after each token; their keys and values are added to the cache."""
    qkv, out, up, down, head = weights
    qkv_b, out_b, up_b, down_b, head_b = biases
    T, C = len(ids), tokens_VC.shape[1]
    x_TC = np.empty((T, C), np.float32)
    for t in range(T):
        for c in range(C):
            x_TC[t, c] = tokens_VC[ids[t], c] + positions_TC[length + t, c]
    h_TC, y_TC = np.empty((T, C), np.float32), np.empty((T, C), np.float32)
    qkv_TO, up_TF = np.empty((T, qkv_b.shape[1]), np.float32), np.empty((T, up_b.shape[1]), np.float32)
    scores_TO = np.empty((T, head_b.shape[1]), np.float32)
    for layer in range(qkv.shape[0]):
        _normalize(x_TC, h_TC, eps)
        _linear(h_TC, qkv[layer], qkv_b[layer], qkv_TO, _STORE)
        _attend(qkv_TO, keys_LBKTD[layer, row], values_LBKTD[layer, row], length, sizes, y_TC)
        _linear(y_TC, out[layer], out_b[layer], x_TC, _ADD)
        _normalize(x_TC, h_TC, eps)
        _linear(h_TC, up[layer], up_b[layer], up_TF, _ACTIVATE)
        _linear(up_TF, down[layer], down_b[layer], x_TC, _ADD)
    _normalize(x_TC, h_TC, eps)
    _linear(h_TC, head[0], head_b[0], scores_TO, _STORE)
    return scores_TO


@njit(fastmath=_FAST, cache=True)
def _normalize(x_TC, h_TC, eps):
    """LayerNorm without gain and shift."""
    T, C = x_TC.shape
    for t in range(T):
        mean = np.float32(0)
        for c in range(C):
            mean += x_TC[t, c]
        mean /= np.float32(C)
        variance = np.float32(0)
        for c in range(C):
            variance += (x_TC[t, c] - mean) ** 2
        factor = np.float32(1) / np.sqrt(variance / np.float32(C) + eps)
        for c in range(C):
            h_TC[t, c] = (x_TC[t, c] - mean) * factor


@njit(fastmath=_FAST, cache=True)
def _multiply(x_TI, panel_IO, sums_TO):
    """Add x @ panel to the sums. Four inputs at a time, so that a sum is loaded and stored once for four products."""
    T, num_inputs = len(x_TI), len(panel_IO)
    whole = num_inputs - num_inputs % 4
    for i in range(0, whole, 4):
        for t in range(T):
            x0, x1, x2, x3 = x_TI[t, i], x_TI[t, i + 1], x_TI[t, i + 2], x_TI[t, i + 3]
            for o in range(PANEL):
                sums_TO[t, o] += (
                    x0 * panel_IO[i, o] + x1 * panel_IO[i + 1, o] + x2 * panel_IO[i + 2, o] + x3 * panel_IO[i + 3, o]
                )
    for i in range(whole, num_inputs):
        for t in range(T):
            for o in range(PANEL):
                sums_TO[t, o] += x_TI[t, i] * panel_IO[i, o]


@njit(fastmath=_FAST, parallel=True, cache=True)
def _linear(x_TI, panels_PIO, bias_O, y_TO, then):
    """y = x W + b, or y += x W + b, or y = GELU(x W + b) in its tanh form: h (1 + tanh(u)) / 2 = h / (1 + exp(-2u)).

    Outputs that only fill the last panel up are left out where y has no place for them.
    """
    T, width = y_TO.shape
    for p in prange(panels_PIO.shape[0]):
        sums_TO = np.zeros((T, PANEL), np.float32)
        _multiply(x_TI, panels_PIO[p], sums_TO)
        begin = p * PANEL
        for t in range(T):
            for o in range(min(PANEL, width - begin)):
                h = sums_TO[t, o] + bias_O[begin + o]
                if then == _ADD:
                    h += y_TO[t, begin + o]
                elif then == _ACTIVATE:
                    h /= np.float32(1) + np.exp(np.float32(-2) * h * (_GELU + _GELU_CUBE * h * h))
                y_TO[t, begin + o] = h


@njit(fastmath=_FAST, cache=True)
def _attend(qkv_TO, keys_KTD, values_KTD, length, sizes, y_TC):
    """Store keys and values of the new tokens; let every query see the cache and the new tokens up to its own."""
    K, G, D = sizes
    T, C = y_TC.shape
    for t in range(T):
        for k in range(K):
            for d in range(D):
                keys_KTD[k, length + t, d] = qkv_TO[t, C + k * D + d]
                values_KTD[k, length + t, d] = qkv_TO[t, C + (K + k) * D + d]
    weights_S = np.empty(length + T, np.float32)
    for t in range(T):
        for head in range(K * G):
            begin, k, num_seen = head * D, head // G, length + t + 1
            highest = np.float32(-np.inf)
            for s in range(num_seen):
                score = np.float32(0)
                for d in range(D):
                    score += qkv_TO[t, begin + d] * keys_KTD[k, s, d]
                weights_S[s] = score
                highest = max(highest, score)
            total = np.float32(0)
            for d in range(D):
                y_TC[t, begin + d] = np.float32(0)
            for s in range(num_seen):
                weight = np.exp(weights_S[s] - highest)
                total += weight
                for d in range(D):
                    y_TC[t, begin + d] += weight * values_KTD[k, s, d]
            for d in range(D):
                y_TC[t, begin + d] /= total
