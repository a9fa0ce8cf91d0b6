"""Keys and values of the tokens that a model has seen, so that the next token costs one token's work.

With multi-query attention there is one key-value head, which is what makes the cache of a long context or a large batch fit
(FACTS I2: 12,288 bytes a token for SantaCoder instead of 196,608). With a sliding window only the last tokens are ever seen
again: the cache is a ring, in which a token takes the place of the one that nobody sees any more (FACTS I2: of 16,384 tokens
of StarCoder2 no more than 4,096 need be kept).

Letters: L layers, B rows, K key-value heads, T tokens or places, D head size, X heads of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stackwright.model.config import ModelConfig

RING_MARGIN = 256
"""Places of a ring beyond the window. So many tokens can be added in one step, the first of which still sees its whole
window, and so many forgotten again, as wrong guesses are."""


@dataclass(frozen=True)
class SavedTokens:
    """Keys and values of one sequence, apart from any cache: [L, K, T, D] each, of the tokens from number `first` on."""

    keys_LKTD: Tensor
    values_LKTD: Tensor
    first: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of the sequence, those before `first` included."""
        return self.first + self.keys_LKTD.size(2)

    @property
    def num_bytes(self) -> int:
        return self.keys_LKTD.nbytes + self.values_LKTD.nbytes


class RowsCache:
    """Keys and values of several sequences of different lengths, one a row.

    All rows have room for `capacity` tokens; `reserve` makes it more, twice as much at least, up to the context or, with a
    sliding window, to a ring of the window and a margin. Token p of a sequence stands at place p mod capacity.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_rows: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.window = config.window
        self.most = config.max_seq_len if self.window is None else min(config.max_seq_len, self.window + RING_MARGIN)
        shape = (config.num_layers, num_rows, config.num_kv_heads, min(capacity, self.most), config.head_dim)
        self.keys_LBKTD = torch.zeros(shape, dtype=dtype, device=device)
        self.values_LBKTD = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = [0] * num_rows
        self._written = [0] * num_rows  # tokens that a row has had at most: later ones took the places of earlier ones
        self._heads: tuple[int, list[tuple[Tensor, Tensor]]] = (0, [])

    @property
    def capacity(self) -> int:
        return self.keys_LBKTD.size(3)

    def reserve(self, capacity: int) -> None:
        """Make room for `capacity` tokens a row, as far as they have to be kept."""
        capacity = min(capacity, self.most)
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

    def extend(self, stored_KTD: Tensor, new_KTD: Tensor, begin: int) -> Tensor:
        """Add tokens of a sequence, from number `begin` on, to keys or values of its row in one layer.

        Returns:
            What the new tokens see of before, and they themselves, in order.
        """
        end = begin + new_KTD.size(1)
        if self.window is None:
            stored_KTD[:, begin:end] = new_KTD
            return stored_KTD[:, :end]
        before_KSD = stored_KTD.index_select(1, self.places(self.first_seen(begin), begin))
        kept = min(end - begin, self.capacity)  # of more tokens than a ring has places, the last ones
        stored_KTD.index_copy_(1, self.places(end - kept, end), new_KTD[:, -kept:])
        return torch.cat((before_KSD, new_KTD), dim=1)

    def places(self, first: int, end: int) -> Tensor:
        """Return where the tokens from `first` to `end` of a sequence stand."""
        return torch.arange(first, end, device=self.keys_LBKTD.device) % self.capacity

    def first_seen(self, length: int) -> int:
        """Return the first token that the one after `length` tokens still sees."""
        return 0 if self.window is None else max(0, length - self.window + 1)

    def holds(self, row: int, length: int) -> bool:
        """Whether a row still has what a sequence of its first `length` tokens needs to go on."""
        return length <= self.lengths[row] and self._first_held(row) <= self.first_seen(length)

    def _first_held(self, row: int) -> int:
        return max(0, self._written[row] - self.capacity)

    def set_length(self, row: int, length: int) -> None:
        """Say how many tokens a row has: more after keys and values were written, or fewer that it `holds`."""
        assert length > self.lengths[row] or self.holds(row, length) or length == 0
        self.lengths[row] = length
        self._written[row] = 0 if length == 0 else max(self._written[row], length)

    def copy(self, source: int, target: int, length: int) -> None:
        """Give a row the first `length` tokens of another, which `holds` them."""
        assert self.holds(source, length)
        used = min(self._written[source], self.capacity) if self._first_held(source) else length
        for tensor in (self.keys_LBKTD, self.values_LBKTD):
            tensor[:, target, :, :used] = tensor[:, source, :, :used]
        self.lengths[target] = length
        self._written[target] = self._written[source] if self._first_held(source) else length

    def save(self, row: int) -> SavedTokens:
        """Return a copy of a row's tokens, as far as they are held."""
        first = min(self._first_held(row), self.lengths[row])
        places_T = self.places(first, self.lengths[row])
        keys, values = (tensor[:, row].index_select(2, places_T) for tensor in (self.keys_LBKTD, self.values_LBKTD))
        return SavedTokens(keys, values, first)

    def can_load(self, saved: SavedTokens, length: int) -> bool:
        """Whether what was saved is enough for its first `length` tokens to go on."""
        return length <= saved.num_tokens and saved.first <= self.first_seen(length)

    def load(self, row: int, saved: SavedTokens, length: int) -> None:
        """Give a row the first `length` tokens that were saved, which it `can_load`."""
        assert self.can_load(saved, length)
        first = max(saved.first, length - self.capacity)
        places_T, chosen = self.places(first, length), slice(first - saved.first, length - saved.first)
        self.keys_LBKTD[:, row].index_copy_(2, places_T, saved.keys_LKTD[:, :, chosen])
        self.values_LBKTD[:, row].index_copy_(2, places_T, saved.values_LKTD[:, :, chosen])
        self.lengths[row] = length
        self._written[row] = max(length, first + self.capacity if first else 0)
