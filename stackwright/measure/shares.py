"""Shares with their intervals: how far a share would move had other texts of the same kind been labelled.

In: how many of how many. Out: the share with its 95 % interval after Wilson (1927), which stays inside 0 to 1 and is wide
where all or none of a few were right. It takes records as independent; texts of one package are not quite, so the true
interval is somewhat wider.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Z_95 = 1.959964
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Share:
    """`count` of `total`. Of nothing there is neither a value nor an interval."""

    count: int
    total: int

    @property
    def value(self) -> float | None:
        return self.count / self.total if self.total else None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Low and high end of the 95 % interval."""
        if not self.total:
            return None
        weight = self.total + Z_95**2
        middle = (self.count + Z_95**2 / 2) / weight
        half = Z_95 / weight * math.sqrt(self.count * (self.total - self.count) / self.total + Z_95**2 / 4)
        return max(middle - half, 0.0), min(middle + half, 1.0)

    def to_json(self) -> dict[str, Any]:
        low, high = self.bounds or (None, None)
        return {"count": self.count, "total": self.total, "value": self.value, "low": low, "high": high}


def share_of(answers: Iterable[bool]) -> Share:
    """Return how many of the answers are yes."""
    answers = list(answers)
    return Share(sum(answers), len(answers))
