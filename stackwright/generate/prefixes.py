"""Keep what a model has seen of earlier requests, so that the next one of the same editor begins where it differs.

In: the tokens of a finished sequence with their keys and values. Out: for a prompt, the kept sequence with which it shares
the longest beginning. Kept within a number of bytes and of sequences; what was used longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from stackwright.model.kv_cache import SavedTokens

MOST_KEPT = 64
"""Sequences, so that looking for one stays quick; an editor has few requests that differ from the beginning."""

Ids = NDArray[np.int64]


def common_length(first: Ids, second: Ids) -> int:
    """Return how many tokens two sequences share from the beginning."""
    size = min(len(first), len(second))
    if size == 0 or first[0] != second[0]:  # of most pairs, and the search below costs ten times as much
        return 0
    same = first[:size] == second[:size]
    differs = int(same.argmin())
    return size if same[differs] else differs


def longest(candidates: Iterable[tuple[Ids, int]], prompt: Ids) -> tuple[int, int]:
    """Return (key, shared length) of the candidate that shares the longest beginning with a prompt; (-1, 0) of none."""
    best = (-1, 0)
    for ids, key in candidates:
        shared = common_length(ids, prompt)
        if shared > best[1]:
            best = (key, shared)
    return best


class KeptPrefixes:
    """Finished sequences, the one used last at the end."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[int, tuple[Ids, SavedTokens]] = OrderedDict()
        self._next = 0
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, prompt: Sequence[int]) -> tuple[SavedTokens | None, int]:
        """Return what is kept of the sequence that shares the longest beginning, and that length; (None, 0) of none."""
        key, shared = longest(((ids, key) for key, (ids, _) in self._kept.items()), np.asarray(prompt, dtype=np.int64))
        if shared == 0:
            return None, 0
        self._kept.move_to_end(key)
        return self._kept[key][1], shared

    def wants(self, num_bytes: int) -> bool:
        """Whether something of this size would be kept at all."""
        return num_bytes <= self._max_bytes

    def keep(self, ids: Sequence[int], saved: SavedTokens) -> None:
        """Keep a sequence; those that are its beginning are no longer needed."""
        row = np.asarray(ids, dtype=np.int64)
        assert len(row) == saved.num_tokens
        if not self.wants(saved.num_bytes):
            return
        for key, (other, _) in list(self._kept.items()):
            if common_length(other, row) == len(other):
                self._drop(key)
        self._kept[self._next] = (row, saved)
        self._next += 1
        self.num_bytes += saved.num_bytes
        while self.num_bytes > self._max_bytes or len(self._kept) > MOST_KEPT:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: int) -> None:
        self.num_bytes -= self._kept.pop(key)[1].num_bytes
