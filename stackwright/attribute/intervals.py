"""Spans of a query that were found, none of which lies inside another.

Invariant of `MaximalSpans`: sorted by start, and so by end. `thin` keeps a few of very many that cover the same bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stackwright.attribute.bits import Int64s


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `end` of the normalised query stand in `document` from byte `offset` of its normalised form on."""

    start: int
    end: int
    document: int
    offset: int


class MaximalSpans:
    """Spans in order; what lies inside another is refused or removed."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._spans: list[Span] = []
        self.changes = 0  # how often a span was added

    def covers(self, start: int, end: int) -> bool:
        """Whether one of the spans holds all of start to end."""
        place = bisect_right(self._starts, start) - 1
        return place >= 0 and self._spans[place].end >= end

    def cover(self, starts: Int64s, ends: Int64s) -> npt.NDArray[np.bool_]:
        """Return `covers` for each pair."""
        places = np.searchsorted(self._starts, starts, "right")
        reached = np.array([-1, *(span.end for span in self._spans)])
        covered: npt.NDArray[np.bool_] = reached[places] >= ends
        return covered

    def add(self, span: Span) -> bool:
        """Add a span unless it lies inside another; remove those that lie inside it. Returns whether it was added."""
        if self.covers(span.start, span.end):
            return False
        first = bisect_left(self._starts, span.start)
        last = first
        while last < len(self._spans) and self._spans[last].end <= span.end:
            last += 1
        self.changes += 1
        self._starts[first:last] = [span.start]
        self._spans[first:last] = [span]
        return True

    def spans(self) -> list[Span]:
        return list(self._spans)


def thin(spans: Sequence[Span]) -> list[Span]:
    """Return few of the spans (sorted by start and by end, none inside another) that cover every byte they all cover.

    From the first byte that is not covered yet, the span that reaches furthest is taken.
    """
    kept: list[Span] = []
    reach = -1
    for place, span in enumerate(spans):
        following = spans[place + 1] if place + 1 < len(spans) else None
        if following is not None and following.start <= max(reach, span.start):
            continue  # the next one covers the same first byte and reaches further
        kept.append(span)
        reach = span.end
    return kept
