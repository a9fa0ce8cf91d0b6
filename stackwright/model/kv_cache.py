"""Keys and values of the tokens that a model has seen, so that the next token costs one token's work.

Memory is taken once, for the whole context. With multi-query attention there is one key-value head, which is what makes
the cache of a long context or a large batch fit (FACTS I2: 12,288 bytes a token for SantaCoder instead of 196,608).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stackwright.model.config import ModelConfig


class KVCache:
    """Preallocated keys and values of every layer; `length` tokens are filled.

    Args:
        capacity: tokens it can hold; the model's context when not given.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int = 1,
        capacity: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.capacity = min(capacity or config.max_seq_len, config.max_seq_len)
        shape = (config.num_layers, batch_size, config.num_kv_heads, self.capacity, config.head_dim)
        self.keys_LBKTD = torch.zeros(shape, dtype=dtype, device=device)
        self.values_LBKTD = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0

    def extend(self, layer: int, keys_BKTD: Tensor, values_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens of one layer and return all its keys and values, the new ones included.

        `length` moves only with `advance`, when every layer has stored the same tokens.
        """
        end = self.length + keys_BKTD.size(2)
        self.keys_LBKTD[layer, :, :, self.length : end] = keys_BKTD
        self.values_LBKTD[layer, :, :, self.length : end] = values_BKTD
        return self.keys_LBKTD[layer, :, :, :end], self.values_LBKTD[layer, :, :, :end]

    def advance(self, num_tokens: int) -> None:
        self.length += num_tokens

    def truncate(self, length: int) -> None:
        """Forget all tokens but the first `length`."""
        assert 0 <= length <= self.length
        self.length = length


@dataclass(frozen=True)
class SavedTokens:
    """Keys and values of one sequence, apart from any cache: [L, K, T, D] each."""

    keys_LKTD: Tensor
    values_LKTD: Tensor

    @property
    def num_tokens(self) -> int:
        return self.keys_LKTD.size(2)

    @property
    def num_bytes(self) -> int:
        return self.keys_LKTD.nbytes + self.values_LKTD.nbytes


class RowsCache:
    """Keys and values of several sequences of different lengths, one a row.

    All rows have room for `capacity` tokens; `reserve` makes it more, twice as much at least, up to the context.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_rows: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.most = config.max_seq_len
        shape = (config.num_layers, num_rows, config.num_kv_heads, min(capacity, self.most), config.head_dim)
        self.keys_LBKTD = torch.zeros(shape, dtype=dtype, device=device)
        self.values_LBKTD = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = [0] * num_rows
        self._heads: tuple[int, list[tuple[Tensor, Tensor]]] = (0, [])

    @property
    def capacity(self) -> int:
        return self.keys_LBKTD.size(3)

    def reserve(self, capacity: int) -> None:
        """Make room for `capacity` tokens a row."""
        if capacity > self.capacity:
            more = min(self.most, max(capacity, 2 * self.capacity)) - self.capacity
            self.keys_LBKTD = F.pad(self.keys_LBKTD, (0, 0, 0, more))
            self.values_LBKTD = F.pad(self.values_LBKTD, (0, 0, 0, more))
            self._heads = (0, [])

    def heads(self, num_rows: int) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values of each layer for the first rows as [X, T, D], X all heads of all rows; views."""
        if self._heads[0] != num_rows:
            layers = zip(self.keys_LBKTD[:, :num_rows], self.values_LBKTD[:, :num_rows])
            self._heads = (num_rows, [(keys.flatten(0, 1), values.flatten(0, 1)) for keys, values in layers])
        return self._heads[1]

    def set_length(self, row: int, length: int) -> None:
        assert 0 <= length <= self.capacity
        self.lengths[row] = length

    def copy(self, source: int, target: int, length: int) -> None:
        """Give a row the first `length` tokens of another."""
        assert length <= self.lengths[source]
        for tensor in (self.keys_LBKTD, self.values_LBKTD):
            tensor[:, target, :, :length] = tensor[:, source, :, :length]
        self.lengths[target] = length

    def save(self, row: int) -> SavedTokens:
        """Return a copy of a row's tokens."""
        length = self.lengths[row]
        return SavedTokens(*(tensor[:, row, :, :length].clone() for tensor in (self.keys_LBKTD, self.values_LBKTD)))

    def load(self, row: int, saved: SavedTokens, length: int) -> None:
        """Give a row the first `length` tokens that were saved."""
        assert length <= saved.num_tokens
        self.keys_LBKTD[:, row, :, :length] = saved.keys_LKTD[:, :, :length]
        self.values_LBKTD[:, row, :, :length] = saved.values_LKTD[:, :, :length]
        self.lengths[row] = length
