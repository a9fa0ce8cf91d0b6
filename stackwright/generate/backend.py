"""The small interface that generation needs of a model, and its reference in torch.

Another backend (quantised, on a GPU) offers the same three things: a context length, sessions that take the tokens of one
sequence and give the scores of the next one, and rows, which do so for several sequences at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from stackwright.generate.single_token import SingleTokenDecoder
from stackwright.model.kv_cache import KVCache, RowsCache, SavedTokens
from stackwright.model.transformer import Transformer


class Session(Protocol):
    """One sequence under way."""

    def feed(self, ids: Sequence[int]) -> Tensor:
        """Add tokens to the sequence and return the scores [V] of the token after them."""


class Rows(Protocol):
    """Several sequences under way, each of its own length."""

    def length(self, row: int) -> int:
        """Return how many tokens of a row have been seen."""

    def reserve(self, capacity: int) -> None:
        """Make room for `capacity` tokens a row."""

    def extend(self, row: int, ids: Sequence[int]) -> Tensor:
        """Add tokens to one row and return the scores [T, V] of the token after each of them."""

    def feed(self, row: int, ids: Sequence[int]) -> Tensor:
        """Add tokens to one row and return the scores [V] of the token after them."""

    def step(self, ids: Sequence[int | None]) -> Tensor:
        """Add one token to each of the first rows and return the scores [B, V] of the next; None leaves a row as it is."""

    def truncate(self, row: int, length: int) -> None:
        """Forget all tokens of a row but the first `length`."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Give a row the first `length` tokens of another."""

    def save(self, row: int) -> SavedTokens:
        """Return what `load` needs to give the tokens of a row to another one, later."""

    def load(self, row: int, saved: SavedTokens, length: int) -> None:
        """Give a row the first `length` tokens that were saved."""


class Backend(Protocol):
    """A model that can continue sequences."""

    max_seq_len: int

    def open(self, capacity: int) -> Session:
        """Begin a sequence of at most `capacity` tokens."""


class RowsBackend(Backend, Protocol):
    """A model that can continue many sequences at once."""

    def open_rows(self, num_rows: int) -> Rows:
        """Return rows without tokens."""


class TorchBackend:
    """Our own decoder with a preallocated cache. The model's weights must not change any more."""

    def __init__(self, model: Transformer) -> None:
        self.model = model.eval()
        self.max_seq_len = model.config.max_seq_len

    @cached_property
    def _decoder(self) -> SingleTokenDecoder:
        return SingleTokenDecoder(self.model)

    def open(self, capacity: int) -> Session:
        return _TorchSession(self.model, self._decoder, capacity)

    def open_rows(self, num_rows: int) -> Rows:
        return _TorchRows(self.model, self._decoder, num_rows)


class _TorchSession:
    def __init__(self, model: Transformer, decoder: SingleTokenDecoder, capacity: int) -> None:
        self._model, self._decoder = model, decoder
        weight = model.token_embedding.weight
        self._cache = KVCache(model.config, capacity=capacity, dtype=weight.dtype, device=weight.device)

    @torch.inference_mode()
    def feed(self, ids: Sequence[int]) -> Tensor:
        if len(ids) == 1:
            return self._decoder.step(ids[0], self._cache)
        return _feed(self._model, self._cache, ids)


_FIRST_CAPACITY = 256
"""Tokens a row has room for at the beginning; a longer sequence makes it more."""


class _TorchRows:
    def __init__(self, model: Transformer, decoder: SingleTokenDecoder, num_rows: int) -> None:
        self._model, self._decoder = model, decoder
        weight = model.token_embedding.weight
        with torch.inference_mode():
            self._cache = RowsCache(model.config, num_rows, _FIRST_CAPACITY, weight.dtype, weight.device)

    def length(self, row: int) -> int:
        return self._cache.lengths[row]

    @torch.inference_mode()
    def reserve(self, capacity: int) -> None:
        self._cache.reserve(capacity)

    @torch.inference_mode()
    def extend(self, row: int, ids: Sequence[int]) -> Tensor:
        cache = self._cache.row(row)
        tokens_1T = torch.tensor([list(ids)], device=self._model.device)
        scores_1TV: Tensor = self._model(tokens_1T, cache)
        self._cache.set_length(row, cache.length)
        return scores_1TV[0]

    @torch.inference_mode()
    def feed(self, row: int, ids: Sequence[int]) -> Tensor:
        cache = self._cache.row(row)
        scores_V = self._decoder.step(ids[0], cache) if len(ids) == 1 else _feed(self._model, cache, ids)
        self._cache.set_length(row, cache.length)
        return scores_V

    @torch.inference_mode()
    def step(self, ids: Sequence[int | None]) -> Tensor:
        return self._decoder.step_rows(ids, self._cache)

    def truncate(self, row: int, length: int) -> None:
        self._cache.set_length(row, length)

    @torch.inference_mode()
    def copy(self, source: int, target: int, length: int) -> None:
        self._cache.copy(source, target, length)

    @torch.inference_mode()
    def save(self, row: int) -> SavedTokens:
        return self._cache.save(row)

    @torch.inference_mode()
    def load(self, row: int, saved: SavedTokens, length: int) -> None:
        self._cache.load(row, saved, length)


def _feed(model: Transformer, cache: KVCache, ids: Sequence[int]) -> Tensor:
    tokens_1T = torch.tensor([list(ids)], device=model.device)
    # Only the last token's scores are wanted: the head, the largest matrix of a small model, sees one row.
    hidden_1TC = model.hidden_states(tokens_1T, cache)
    scores_V: Tensor = model.head(hidden_1TC[0, -1])
    return scores_V
