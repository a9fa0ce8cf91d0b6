"""A cache bounded by the sum of what its values weigh."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentlyUsed(Generic[Key, Value]):
    """What `make` made, as long as the sum of `size` stays below `limit`; the least recently used goes first."""

    def __init__(self, make: Callable[[Key], Value], size: Callable[[Value], int], limit: int) -> None:
        self._make, self._size, self._limit = make, size, limit
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._total = 0

    def get(self, key: Key) -> Value:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        value = self._make(key)
        self._kept[key] = value
        self._total += self._size(value)
        while self._total > self._limit and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._total -= self._size(dropped)
        return value
