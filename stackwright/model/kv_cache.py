"""Keys and values of the tokens that a model has seen, so that the next token costs one token's work.

Memory is taken once, for the whole context. With multi-query attention there is one key-value head, which is what makes
the cache of a long context or a large batch fit (FACTS I2: 12,288 bytes a token for SantaCoder instead of 196,608).
"""

from __future__ import annotations

import torch
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
