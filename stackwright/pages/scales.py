"""What a chart does with numbers before it draws: scales, ticks, thinning, smoothing, and labels that do not overlap.

Invariants: what is not a finite number is never placed; thinning keeps the first, the last, the lowest and the highest
point of every stretch, so a spike stays visible.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A straight line from values to places; `first` and `last` are the places of `low` and `high`."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return (self.first + self.last) / 2
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


def finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def ticks_between(low: float, high: float, about: int = 5) -> list[float]:
    """Return about that many round values from the last one at or below `low` to the first at or above `high`."""
    if high <= low:
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    raw = (high - low) / max(about - 1, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in _STEPS if factor * magnitude >= raw * (1 - 1e-9))
    # Rounding before floor and ceil: 0.3 / 0.1 is a little less than 3.
    start, stop = math.floor(round(low / step, 9)), math.ceil(round(high / step, 9))
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(index * step, digits) for index in range(start, stop + 1)]


def inner_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return the round values that lie between `low` and `high`: ticks of an axis that ends where the data end."""
    return [tick for tick in ticks_between(low, high, about) if low <= tick <= high]


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most `most` points, in order: of each stretch the lowest and the highest, and both ends of the whole."""
    if len(points) <= most or most < 4:
        return list(points) if len(points) <= most else [points[0], points[-1]]
    inner = points[1:-1]
    buckets = (most - 2) // 2
    kept = [points[0]]
    for bucket in range(buckets):
        stretch = inner[bucket * len(inner) // buckets : (bucket + 1) * len(inner) // buckets]
        known = [point for point in stretch if math.isfinite(point[1])]
        if not known:
            kept.extend(stretch[:1])  # a stretch without a number stays as a gap
            continue
        kept.extend(sorted({min(known, key=lambda point: point[1]), max(known, key=lambda point: point[1])}))
    return [*kept, points[-1]]


def smoothed(points: Sequence[Point], weight: float = 0.95) -> list[Point]:
    """Return an exponential moving average that starts without bias; what is not finite is left out of it."""
    mean, seen = 0.0, 0.0
    result = []
    for x, y in points:
        if math.isfinite(y):
            mean, seen = weight * mean + (1 - weight) * y, weight * seen + (1 - weight)
            result.append((x, mean / seen))
    return result


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places at least `gap` apart and, where there is room, between `low` and `high`, in the order given."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = [min(max(place, low), high) for place in places]
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    if order and moved[order[-1]] > high:
        moved[order[-1]] = high
        for after, before in zip(order[::-1], order[-2::-1]):
            moved[before] = min(moved[before], moved[after] - gap)
    return moved
