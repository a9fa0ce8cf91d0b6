"""Numbers as people read them: with a unit, few digits, and a dash where there is none."""

from __future__ import annotations

import math

NOTHING = "–"

_DECIMAL = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(value: float | None) -> str:
    """Return a whole number with separators: 26,573."""
    return NOTHING if value is None or not math.isfinite(value) else f"{round(value):,}"


def size(num_bytes: float | None) -> str:
    """Return an amount of bytes in decimal units: 211.6 MB."""
    if num_bytes is None or not math.isfinite(num_bytes):
        return NOTHING
    for factor, letter in _DECIMAL:
        if abs(num_bytes) >= factor:
            return f"{num_bytes / factor:.1f} {letter}B"
    return f"{round(num_bytes)} B"


def share(part: float, whole: float) -> str:
    """Return part of a whole in per cent; what is there but rounds to nothing is said to be below 0.1 %."""
    if not whole:
        return NOTHING
    if 0 < part / whole < 0.001:
        return "< 0.1 %"
    return f"{100 * part / whole:.1f} %"


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a score with a fixed number of digits."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def measured(value: float | None) -> str:
    """Return a measured value of unknown scale: whole numbers as counts, others with four significant digits."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return count(value) if value == round(value) else f"{value:,.4g}"


def duration(seconds: float | None) -> str:
    """Return a time in its two largest units: 11 min 4 s."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 59.95:  # from here on it would round to 60.0
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def short(value: float) -> str:
    """Return the label of an axis tick: 0.5, 20, 1.5k, 4M. Exact for the round numbers that ticks are."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    for factor, letter in _DECIMAL:
        if abs(value) >= factor:
            return f"{value / factor:.6g}{letter}"
    return f"{value:.6g}"


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """Return a score with its interval: 2.084 [2.031, 2.140]."""
    if low is None or high is None:
        return decimal(value, digits)
    return f"{decimal(value, digits)} [{decimal(low, digits)}, {decimal(high, digits)}]"


def things(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
