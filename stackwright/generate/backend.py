"""The small interface that generation needs of a model, and its reference in torch.

Another backend (quantised, on a GPU) offers the same three things: a context length, sessions that take the tokens of one
sequence and give the scores of the next one, and rows, which do so for several sequences at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from stackwright.generate.rows import MOST_COPIED, RowsDecoder
from stackwright.model.kv_cache import RowsCache, SavedTokens
from stackwright.model.transformer import Transformer

if TYPE_CHECKING:
    from stackwright.generate.compiled import CompiledDecoder


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

    def feed(self, row: int, ids: Sequence[int]) -> Tensor:
        """Add tokens to one row and return the scores [V] of the token after them."""

    def step(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Add a few tokens, or none, to each of the first rows; return the scores [N, V] of what follows each of them."""

    def truncate(self, row: int, length: int) -> None:
        """Forget all tokens of a row but the first `length`."""

    def copy(self, source: int, target: int, length: int) -> bool:
        """Give a row the first `length` tokens of another; False, and nothing is done, where those are held no more."""

    def save(self, row: int) -> SavedTokens:
        """Return what `load` needs to give the tokens of a row to another one, later."""

    def load(self, row: int, saved: SavedTokens, length: int) -> bool:
        """Give a row the first `length` saved tokens; False, and nothing is done, where those are not all there."""


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
    """Our own decoder with a preallocated cache. The model's weights must not change any more.

    Args:
        compiled: whether a few tokens of one sequence go through `compiled.py`. It needs numba, seconds to be compiled the
            first time, and a second copy of the weights; so it is for who generates much.

    Raises:
        ModuleNotFoundError: numba is not installed.
    """

    def __init__(self, model: Transformer, compiled: bool = False) -> None:
        self.model = model.eval()
        self.max_seq_len = model.config.max_seq_len
        self._decoder = RowsDecoder(model)
        self._compiled = _compiled_decoder(model) if compiled else None

    def open(self, capacity: int) -> Session:
        return _TorchSession(self.open_rows(1), capacity)

    def open_rows(self, num_rows: int) -> Rows:
        return _TorchRows(self.model, self._decoder, self._compiled, num_rows)


def _compiled_decoder(model: Transformer) -> CompiledDecoder | None:
    """Return the compiled decoder of a model that it is for: on a processor, in 32 bits, small enough to be there twice."""
    weight, config = model.token_embedding.weight, model.config
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or config.num_parameters() > MOST_COPIED:
        return None
    if config.positions != "learned" or config.window is not None:
        return None
    from stackwright.generate.compiled import CompiledDecoder

    return CompiledDecoder(model)


class _TorchSession:
    def __init__(self, rows: Rows, capacity: int) -> None:
        self._rows = rows
        self._rows.reserve(capacity)

    def feed(self, ids: Sequence[int]) -> Tensor:
        return self._rows.feed(0, ids)


_FIRST_CAPACITY = 256
"""Tokens a row has room for at the beginning; a longer sequence makes it more."""

_MOST_COMPILED_ROWS = 2
"""Rows up to which one compiled pass after the other is quicker than one pass in torch."""


class _TorchRows:
    def __init__(self, model: Transformer, decoder: RowsDecoder, compiled: CompiledDecoder | None, num_rows: int) -> None:
        self._decoder, self._compiled = decoder, compiled
        weight = model.token_embedding.weight
        with torch.inference_mode():
            self._cache = RowsCache(model.config, num_rows, _FIRST_CAPACITY, weight.dtype, weight.device)

    def length(self, row: int) -> int:
        return self._cache.lengths[row]

    @torch.inference_mode()
    def reserve(self, capacity: int) -> None:
        self._cache.reserve(capacity)

    @torch.inference_mode()
    def feed(self, row: int, ids: Sequence[int]) -> Tensor:
        if self._compiled is not None and len(ids) <= self._compiled.most_tokens:
            return self._compiled.step(ids, self._cache, row)[-1]
        return self._decoder.read(ids, self._cache, row)

    @torch.inference_mode()
    def step(self, ids: Sequence[Sequence[int]]) -> Tensor:
        if self._compiled is not None:
            busy = [row for row, added in enumerate(ids) if added]
            if len(busy) <= _MOST_COMPILED_ROWS and all(len(added) <= self._compiled.most_tokens for added in ids):
                scores = [self._compiled.step(ids[row], self._cache, row) for row in busy]
                return scores[0] if len(scores) == 1 else torch.cat(scores)
        return self._decoder.step(ids, self._cache)

    def truncate(self, row: int, length: int) -> None:
        self._cache.set_length(row, length)

    @torch.inference_mode()
    def copy(self, source: int, target: int, length: int) -> bool:
        is_held = self._cache.holds(source, length)
        if is_held:
            self._cache.copy(source, target, length)
        return is_held

    @torch.inference_mode()
    def save(self, row: int) -> SavedTokens:
        return self._cache.save(row)

    @torch.inference_mode()
    def load(self, row: int, saved: SavedTokens, length: int) -> bool:
        is_held = self._cache.can_load(saved, length)
        if is_held:
            self._cache.load(row, saved, length)
        return is_held
