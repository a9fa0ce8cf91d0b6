"""A few tokens of several sequences through the decoder with as few operations as it takes.

A small model spends its decoding time on calling operations, not on arithmetic. For a few new tokens the general forward
pass calls twice as many as needed: it makes views of four dimensions, looks up modules, checks shapes. This does the same
arithmetic with the weights looked up once and all new tokens of all sequences as the rows of one matrix; a test holds it
equal to the forward pass. Sequences differ in length and in how many tokens they get; what one must not see is masked.

Letters: B sequences, N new tokens of all of them, T of one at most, C width, F feed-forward width, V vocabulary, K key-value
heads, G query heads for each of them, X key-value heads of all sequences, Q = T x G, D head size, S tokens so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from stackwright.model.kv_cache import RING_MARGIN, RowsCache
from stackwright.model.masks import SdpaSight
from stackwright.model.rotary import Rotation
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


class RowsDecoder:
    """Continues sequences token by token on caches that the forward pass has filled. Keeps the weights as they are now."""

    def __init__(self, model: Transformer) -> None:
        config = model.config
        self._copies = config.num_parameters() <= MOST_COPIED
        self._layers = [self._layer(block) for block in model.blocks if isinstance(block, Block)]
        self._tokens = model.token_embedding.weight
        self._positions = model.position_embedding.weight if config.positions == "learned" else None
        self._rope_theta, self._sight = config.rope_theta, SdpaSight(config.window)
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

    def step(self, tokens: Sequence[Sequence[int]], cache: RowsCache) -> Tensor:
        """Add tokens to the first rows of the cache and return the scores [N, V] of the one after each of them, row by row.

        Args:
            tokens: of rows 0, 1, …, a few of each or none.
        """
        plan = _RowsPlan(tokens, cache, self._query_shape)
        x_NC, rotation = self._embed(plan.ids_N, plan.positions_N)
        for layer, (keys_XTD, values_XTD) in zip(self._layers, cache.heads(len(tokens))):
            h_NC = torch.layer_norm(x_NC, self._shape, *layer.norm_1, self._eps)
            qkv_N = self._rotate(torch.addmm(layer.qkv[1], h_NC, layer.qkv[0]), rotation)
            keys_XTD.flatten(0, 1).index_copy_(0, plan.places_M, qkv_N[:, self._width : self._kv_end].reshape(plan.per_head))
            values_XTD.flatten(0, 1).index_copy_(0, plan.places_M, qkv_N[:, self._kv_end :].reshape(plan.per_head))
            q_XQD = plan.queries(qkv_N[:, : self._width])
            keys_XDS = keys_XTD[:, : plan.num_seen].transpose(1, 2)
            scores_XQS = torch.baddbmm(plan.mask_XQS, q_XQD, keys_XDS, alpha=self._scale)
            y_XQD = torch.bmm(torch.softmax(scores_XQS, dim=-1), values_XTD[:, : plan.num_seen])
            x_NC = self._feed_forward(layer, x_NC + torch.addmm(layer.out[1], plan.rows(y_XQD), layer.out[0]))
        for row, added in enumerate(tokens):
            cache.set_length(row, cache.lengths[row] + len(added))
        return self._scores(x_NC)

    def read(self, ids: Sequence[int], cache: RowsCache, row: int) -> Tensor:
        """Add a prompt, or a part of it, to one row and return the scores [V] of what follows its last token."""
        begin, end = cache.lengths[row], cache.lengths[row] + len(ids)
        T, (K, G, D), device = len(ids), self._query_shape, self._head.device
        x_TC, rotation = self._embed(torch.tensor(ids, device=device), torch.arange(begin, end, device=device))
        for layer, keys_KTD, values_KTD in zip(self._layers, cache.keys_LBKTD[:, row], cache.values_LBKTD[:, row]):
            h_TC = torch.layer_norm(x_TC, self._shape, *layer.norm_1, self._eps)
            qkv_T = self._rotate(torch.addmm(layer.qkv[1], h_TC, layer.qkv[0]), rotation)
            k_KTD = qkv_T[:, self._width : self._kv_end].view(T, K, D).transpose(0, 1)
            v_KTD = qkv_T[:, self._kv_end :].view(T, K, D).transpose(0, 1)
            y_1HTD = self._sight.attend(
                qkv_T[:, : self._width].view(1, T, K * G, D).transpose(1, 2),
                cache.extend(keys_KTD, k_KTD, begin)[None],
                cache.extend(values_KTD, v_KTD, begin)[None],
            )
            y_TC = y_1HTD[0].transpose(0, 1).reshape(T, -1)
            x_TC = self._feed_forward(layer, x_TC + torch.addmm(layer.out[1], y_TC, layer.out[0]))
        cache.set_length(row, end)
        return self._scores(x_TC[-1:])[0]

    def _embed(self, ids_N: Tensor, positions_N: Tensor) -> tuple[Tensor, Rotation | None]:
        """Return the stream at the beginning, and the rotation of the positions where they are not added to it."""
        x_NC = self._tokens.index_select(0, ids_N)
        if self._positions is not None:
            return x_NC + self._positions.index_select(0, positions_N), None
        rotation = Rotation.of(positions_N, self._query_shape[2], self._rope_theta).to(x_NC.dtype)
        return x_NC, Rotation(rotation.cos[:, None], rotation.sin[:, None])

    def _rotate(self, qkv_N: Tensor, rotation: Rotation | None) -> Tensor:
        """Turn queries and keys, which stand before the values, to their positions."""
        if rotation is None:
            return qkv_N
        turned_NHD = rotation.rotate(qkv_N[:, : self._kv_end].view(len(qkv_N), -1, self._query_shape[2]))
        return torch.cat((turned_NHD.flatten(1), qkv_N[:, self._kv_end :]), dim=1)

    def _feed_forward(self, layer: _Layer, x_BC: Tensor) -> Tensor:
        h_BC = torch.layer_norm(x_BC, self._shape, *layer.norm_2, self._eps)
        h_BF = F.gelu(torch.addmm(layer.up[1], h_BC, layer.up[0]), approximate="tanh")
        return x_BC + torch.addmm(layer.down[1], h_BF, layer.down[0])

    def _scores(self, x_BC: Tensor) -> Tensor:
        return torch.mm(torch.layer_norm(x_BC, self._shape, *self._final_norm, self._eps), self._head)


def _norm(module: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    return module.weight.detach(), module.bias.detach()


class _RowsPlan:
    """Where the tokens of one step stand: N of them, in rows that get T at most; the same for every layer.

    Attention wants each row's queries together, Q = T x G for each key-value head; a row that gets fewer tokens has the
    place filled up, and what comes out there is left behind.
    """

    def __init__(self, tokens: Sequence[Sequence[int]], cache: RowsCache, query_shape: tuple[int, int, int]) -> None:
        K, G, D = query_shape
        counts_B = np.array([len(added) for added in tokens])
        lengths_B = np.array(cache.lengths[: len(tokens)])
        B, T = len(tokens), int(counts_B.max())
        assert cache.window is None or T <= RING_MARGIN
        self._device, capacity = cache.keys_LBKTD.device, cache.capacity
        self.num_seen = min(int((lengths_B + counts_B).max()), capacity)
        rows_N = np.repeat(np.arange(B), counts_B)
        offsets_N = np.arange(len(rows_N)) - np.repeat(np.cumsum(counts_B) - counts_B, counts_B)
        positions_N = lengths_B[rows_N] + offsets_N
        places_NK = (rows_N[:, None] * K + np.arange(K)) * capacity + positions_N[:, None] % capacity
        self.ids_N = self._tensor(np.array([token for added in tokens for token in added]))
        self.positions_N, self.places_M = self._tensor(positions_N), self._tensor(places_NK.reshape(-1))
        self.per_head = (len(rows_N) * K, D)
        self._shape, self._order = (B, T, K, G, D), (0, 2, 1, 3, 4)
        limits_BT = torch.from_numpy((lengths_B[:, None] + np.arange(T)).astype(np.float32))
        limits_XQ1 = limits_BT[:, None, :, None].expand(B, K, T, G).reshape(B * K, T * G, 1)
        mask_XQS = self._mask(limits_XQ1, lengths_B + counts_B, cache)
        self.mask_XQS = mask_XQS.to(self._device, cache.keys_LBKTD.dtype)
        self._slots_N: Tensor | None = None
        if len(rows_N) < B * T:
            slots_N = rows_N * T + offsets_N
            filled_BT = np.zeros(B * T, dtype=np.int64)
            filled_BT[slots_N] = np.arange(len(rows_N))
            self._slots_N, self._filled_BT = self._tensor(slots_N), self._tensor(filled_BT)

    def _tensor(self, values: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(values).to(self._device)

    def _mask(self, limits_XQ1: Tensor, ends_B: NDArray[np.int64], cache: RowsCache) -> Tensor:
        """Return 0 for what a query may see and a very low number for the rest: quicker than to compare and fill."""
        if cache.window is None:
            return torch.clamp((limits_XQ1 - torch.arange(self.num_seen, dtype=torch.float32)).mul_(1e30), max=0)
        # A place of the ring has the last token that came to it; before the first one it has a number below 0.
        newest_B1 = ends_B[:, None] - 1
        held_BS = newest_B1 - (newest_B1 - np.arange(self.num_seen)) % cache.capacity
        held_X1S = torch.from_numpy(held_BS.astype(np.float32)).repeat_interleave(limits_XQ1.size(0) // len(ends_B), 0)[
            :, None
        ]
        distance_XQS = limits_XQ1 - held_X1S
        is_seen = (distance_XQS >= 0) & (distance_XQS < cache.window) & (held_X1S >= 0)
        return torch.where(is_seen, 0.0, -1e30)

    def queries(self, q_N: Tensor) -> Tensor:
        """[N, K·G·D] -> [X, Q, D]."""
        B, T, K, G, D = self._shape
        if self._slots_N is not None:
            q_N = q_N.index_select(0, self._filled_BT)
        return q_N.reshape(self._shape).permute(self._order).reshape(B * K, T * G, D)

    def rows(self, y_XQD: Tensor) -> Tensor:
        """[X, Q, D] -> [N, K·G·D]."""
        B, T, K, G, D = self._shape
        y = y_XQD.view(B, K, T, G, D).permute(self._order).reshape(B * T, K * G * D)
        return y if self._slots_N is None else y.index_select(0, self._slots_N)
