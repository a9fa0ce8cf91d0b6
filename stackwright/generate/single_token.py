"""One token through the decoder with as few operations as it takes.

A small model spends its decoding time on calling operations, not on arithmetic. For one new token of one sequence the
general forward pass calls twice as many as needed: it makes views of four dimensions, looks up modules, and checks shapes.
This does the same arithmetic on vectors, with the weights looked up once; a test holds it equal to the forward pass.

Letters: C width, H query heads, K key-value heads, G query heads for each of them, D head size, S tokens so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stackwright.model.kv_cache import KVCache
from stackwright.model.transformer import Block, Transformer


@dataclass(frozen=True, slots=True)
class _Layer:
    """The tensors of one block, by the order of their use."""

    norm_1: tuple[Tensor, Tensor]
    qkv: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]
    norm_2: tuple[Tensor, Tensor]
    up: tuple[Tensor, Tensor]
    down: tuple[Tensor, Tensor]


def _layer(block: Block) -> _Layer:
    modules = (
        block.attention_norm,
        block.attention.qkv_proj,
        block.attention.out_proj,
        block.feed_forward_norm,
        block.feed_forward.up_proj,
        block.feed_forward.down_proj,
    )
    return _Layer(*((module.weight, module.bias) for module in modules))


class SingleTokenDecoder:
    """Continues one sequence token by token on a cache that the forward pass has filled."""

    def __init__(self, model: Transformer) -> None:
        config = model.config
        self._layers = [_layer(block) for block in model.blocks if isinstance(block, Block)]
        self._tokens, self._positions = model.token_embedding.weight, model.position_embedding.weight
        self._final_norm = (model.final_norm.weight, model.final_norm.bias)
        self._head = model.head.weight
        self._eps, self._shape = config.norm_eps, (config.hidden_size,)
        self._width, self._kv_end = config.hidden_size, config.hidden_size + config.kv_size
        self._query_shape = (config.num_kv_heads, config.num_heads // config.num_kv_heads, config.head_dim)
        self._key_shape = (config.num_kv_heads, config.head_dim)
        self._scale = config.head_dim**-0.5

    def step(self, token: int, cache: KVCache) -> Tensor:
        """Add one token to the cache and return the scores [V] of the next."""
        position = cache.length
        x_C = self._tokens[token] + self._positions[position]
        keys_LKSD, values_LKSD = cache.keys_LBKTD[:, 0], cache.values_LBKTD[:, 0]
        for index, layer in enumerate(self._layers):
            h_C = F.layer_norm(x_C, self._shape, *layer.norm_1, self._eps)
            qkv = torch.addmv(layer.qkv[1], layer.qkv[0], h_C)
            keys_KSD, values_KSD = keys_LKSD[index], values_LKSD[index]
            keys_KSD[:, position] = qkv[self._width : self._kv_end].view(self._key_shape)
            values_KSD[:, position] = qkv[self._kv_end :].view(self._key_shape)
            q_KGD = qkv[: self._width].view(self._query_shape)
            scores_KGS = torch.bmm(q_KGD * self._scale, keys_KSD[:, : position + 1].transpose(1, 2))
            y_KGD = torch.bmm(torch.softmax(scores_KGS, dim=-1), values_KSD[:, : position + 1])
            x_C = x_C + torch.addmv(layer.out[1], layer.out[0], y_KGD.view(-1))
            h_C = F.layer_norm(x_C, self._shape, *layer.norm_2, self._eps)
            h_F = F.gelu(torch.addmv(layer.up[1], layer.up[0], h_C), approximate="tanh")
            x_C = x_C + torch.addmv(layer.down[1], layer.down[0], h_F)
        cache.advance(1)
        return torch.mv(self._head, F.layer_norm(x_C, self._shape, *self._final_norm, self._eps))
