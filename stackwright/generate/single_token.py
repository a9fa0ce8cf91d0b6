"""One token of one sequence, or of several, through the decoder with as few operations as it takes.

A small model spends its decoding time on calling operations, not on arithmetic. For one new token the general forward pass
calls twice as many as needed: it makes views of four dimensions, looks up modules, and checks shapes. This does the same
arithmetic on vectors, with the weights looked up once; a test holds it equal to the forward pass. For several sequences of
different lengths the vectors become rows, and what a row must not see is masked.

Letters: B sequences, C width, F feed-forward width, V vocabulary, K key-value heads, G query heads for each of
them, X key-value heads of all sequences, D head size, T places of a cache, S tokens so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackwright.model.kv_cache import KVCache, RowsCache
from stackwright.model.transformer import Block, Transformer

MOST_COPIED = 50_000_000
"""Parameters up to which the matrices are kept a second time, laid out by rows of input.

For a few rows that product takes two thirds of the time (MKL, float32). A larger model has no memory to give away.
"""


@dataclass(frozen=True, slots=True)
class _Layer:
    """The tensors of one block, by the order of their use: gains or a matrix [inputs, outputs], and biases."""

    norm_1: tuple[Tensor, Tensor]
    qkv: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]
    norm_2: tuple[Tensor, Tensor]
    up: tuple[Tensor, Tensor]
    down: tuple[Tensor, Tensor]


class SingleTokenDecoder:
    """Continues sequences token by token on caches that the forward pass has filled. Keeps the weights as they are now."""

    def __init__(self, model: Transformer) -> None:
        config = model.config
        self._copies = config.num_parameters() <= MOST_COPIED
        self._layers = [self._layer(block) for block in model.blocks if isinstance(block, Block)]
        self._tokens, self._positions = model.token_embedding.weight, model.position_embedding.weight
        self._final_norm = _norm(model.final_norm)
        self._head = self._matrix(model.head.weight)
        self._eps, self._shape = config.norm_eps, (config.hidden_size,)
        self._width, self._kv_end = config.hidden_size, config.hidden_size + config.kv_size
        self._query_shape = (config.num_kv_heads, config.num_heads // config.num_kv_heads, config.head_dim)
        self._key_shape = (config.num_kv_heads, config.head_dim)
        self._scale = config.head_dim**-0.5

    def _layer(self, block: Block) -> _Layer:
        attention, forward = block.attention, block.feed_forward
        return _Layer(
            norm_1=_norm(block.attention_norm),
            qkv=self._linear(attention.qkv_proj),
            out=self._linear(attention.out_proj),
            norm_2=_norm(block.feed_forward_norm),
            up=self._linear(forward.up_proj),
            down=self._linear(forward.down_proj),
        )

    def _linear(self, module: nn.Linear) -> tuple[Tensor, Tensor]:
        return self._matrix(module.weight), module.bias

    def _matrix(self, weight: Tensor) -> Tensor:
        matrix = weight.detach().t()
        return matrix.contiguous() if self._copies else matrix

    def step(self, token: int, cache: KVCache) -> Tensor:
        """Add one token to the cache and return the scores [V] of the next."""
        position = cache.length
        x_1C = (self._tokens[token] + self._positions[position]).unsqueeze(0)
        keys_LKTD, values_LKTD = cache.keys_LBKTD[:, 0], cache.values_LBKTD[:, 0]
        for index, layer in enumerate(self._layers):
            h_1C = torch.layer_norm(x_1C, self._shape, *layer.norm_1, self._eps)
            qkv = torch.addmm(layer.qkv[1], h_1C, layer.qkv[0])[0]
            keys_KTD, values_KTD = keys_LKTD[index], values_LKTD[index]
            keys_KTD[:, position] = qkv[self._width : self._kv_end].view(self._key_shape)
            values_KTD[:, position] = qkv[self._kv_end :].view(self._key_shape)
            q_KGD = qkv[: self._width].view(self._query_shape)
            scores_KGS = torch.bmm(q_KGD * self._scale, keys_KTD[:, : position + 1].transpose(1, 2))
            y_KGD = torch.bmm(torch.softmax(scores_KGS, dim=-1), values_KTD[:, : position + 1])
            x_1C = self._feed_forward(layer, x_1C + torch.addmm(layer.out[1], y_KGD.view(1, -1), layer.out[0]))
        cache.advance(1)
        return self._scores(x_1C)[0]

    def step_rows(self, tokens: Sequence[int | None], cache: RowsCache) -> Tensor:
        """Add one token to each of the first rows of the cache and return the scores [B, V] of the next.

        Args:
            tokens: of rows 0, 1, …; None leaves a row as it is, and its scores mean nothing.
        """
        B, K = len(tokens), self._key_shape[0]
        lengths_B = torch.tensor(cache.lengths[:B])
        lengths_X = lengths_B.repeat_interleave(K)
        num_seen = max(cache.lengths[:B]) + 1
        places_X = torch.arange(B * K) * cache.capacity + lengths_X
        mask_X1S = torch.zeros(B * K, 1, num_seen, dtype=self._head.dtype)
        mask_X1S.masked_fill_(torch.arange(num_seen) > lengths_X[:, None, None], -math.inf)
        x_BC = self._tokens[torch.tensor([token or 0 for token in tokens])] + self._positions[lengths_B]
        for layer, (keys_XTD, values_XTD) in zip(self._layers, cache.heads(B)):
            h_BC = torch.layer_norm(x_BC, self._shape, *layer.norm_1, self._eps)
            qkv_B = torch.addmm(layer.qkv[1], h_BC, layer.qkv[0])
            keys_XTD.flatten(0, 1).index_copy_(0, places_X, _per_head(qkv_B[:, self._width : self._kv_end], B * K))
            values_XTD.flatten(0, 1).index_copy_(0, places_X, _per_head(qkv_B[:, self._kv_end :], B * K))
            q_XGD = qkv_B[:, : self._width].reshape(B * K, *self._query_shape[1:])
            keys_XDS = keys_XTD[:, :num_seen].transpose(1, 2)
            scores_XGS = torch.baddbmm(mask_X1S, q_XGD, keys_XDS, alpha=self._scale)
            y_XGD = torch.bmm(torch.softmax(scores_XGS, dim=-1), values_XTD[:, :num_seen])
            x_BC = self._feed_forward(layer, x_BC + torch.addmm(layer.out[1], y_XGD.view(B, -1), layer.out[0]))
        for row, token in enumerate(tokens):
            if token is not None:
                cache.set_length(row, cache.lengths[row] + 1)
        return self._scores(x_BC)

    def _feed_forward(self, layer: _Layer, x_BC: Tensor) -> Tensor:
        h_BC = torch.layer_norm(x_BC, self._shape, *layer.norm_2, self._eps)
        h_BF = F.gelu(torch.addmm(layer.up[1], h_BC, layer.up[0]), approximate="tanh")
        return x_BC + torch.addmm(layer.down[1], h_BF, layer.down[0])

    def _scores(self, x_BC: Tensor) -> Tensor:
        return torch.mm(torch.layer_norm(x_BC, self._shape, *self._final_norm, self._eps), self._head)


def _norm(module: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    return module.weight.detach(), module.bias.detach()


def _per_head(keys_B: Tensor, num_heads: int) -> Tensor:
    return keys_B.reshape(num_heads, -1)
