"""The small interface that generation needs of a model, and its reference in torch.

Another backend (quantised, on a GPU) offers the same two things: a context length, and sessions that take tokens and give
the scores of the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from stackwright.generate.single_token import SingleTokenDecoder
from stackwright.model.kv_cache import KVCache
from stackwright.model.transformer import Transformer


class Session(Protocol):
    """One sequence under way."""

    def feed(self, ids: Sequence[int]) -> Tensor:
        """Add tokens to the sequence and return the scores [V] of the token after them."""


class Backend(Protocol):
    """A model that can continue sequences."""

    max_seq_len: int

    def open(self, capacity: int) -> Session:
        """Begin a sequence of at most `capacity` tokens."""


class TorchBackend:
    """Our own decoder with a preallocated cache."""

    def __init__(self, model: Transformer) -> None:
        self.model = model.eval()
        self.max_seq_len = model.config.max_seq_len

    def open(self, capacity: int) -> Session:
        return _TorchSession(self.model, capacity)


class _TorchSession:
    def __init__(self, model: Transformer, capacity: int) -> None:
        self._model = model
        self._decoder = SingleTokenDecoder(model)
        weight = model.token_embedding.weight
        self._cache = KVCache(model.config, capacity=capacity, dtype=weight.dtype, device=weight.device)

    @torch.inference_mode()
    def feed(self, ids: Sequence[int]) -> Tensor:
        if len(ids) == 1:
            return self._decoder.step(ids[0], self._cache)
        tokens_1T = torch.tensor([list(ids)], device=self._model.device)
        # Only the last token's scores are wanted: the head, the largest matrix of a small model, sees one row.
        hidden_1TC = self._model.hidden_states(tokens_1T, self._cache)
        scores_V: Tensor = self._model.head(hidden_1TC[0, -1])
        return scores_V
