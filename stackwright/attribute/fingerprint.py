"""Fingerprints: from the windows of a text to few hashes, so that equal windows have equal fingerprints.

In: bytes of one or several normalised texts. Out: for every window of `least_span` bytes the one k-gram that stands for
it. The choice is a function of those bytes alone: wherever a window occurs, the same k-gram is chosen and its hash is
the window's fingerprint. Neighbouring windows mostly share one, so few k-grams are kept.

The scheme is the mod-minimizer (Groot Koerkamp and Pibiri, WABI 2024), a sparser form of winnowing (Schleimer, Wilkerson
and Aiken, SIGMOD 2003): of the t-grams of the window the leftmost with the least hash is sought, at place p; with w
k-grams in the window, the one at p mod w is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

CHUNK_WINDOWS = 1 << 16
"""Windows worked on at a time: the arrays of one chunk stay in the processor's cache."""

LOAD_BYTES = 8
_PADDING = bytes(LOAD_BYTES)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX_2 = np.uint64(0x165667B19E3779F9)
_HIGH_HALF = np.uint64(0xFFFFFFFF00000000)
_LOW_HALF = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True)
class Scheme:
    """Lengths in bytes: of a window, and of the k-gram that stands for it."""

    least_span: int
    gram_bytes: int

    @property
    def grams_in_window(self) -> int:
        return self.least_span - self.gram_bytes + 1

    @property
    def order_bytes(self) -> int:
        """Length t of the t-grams whose hashes are compared.

        The paper's density holds for t = k (mod w). Below 4 bytes code has too many equal t-grams, and above 8 one load
        does not hold them; any t is correct.
        """
        congruent = self.gram_bytes % self.grams_in_window
        return congruent if 4 <= congruent <= LOAD_BYTES else LOAD_BYTES


@dataclass(frozen=True)
class WindowRuns:
    """Runs of neighbouring windows that one k-gram stands for: first window, number of windows, place of the k-gram."""

    first: Int64s
    count: Int64s
    gram: Int64s


def window_runs(data: bytes, ends: Int64s, scheme: Scheme) -> WindowRuns:
    """Return the runs of all windows of the texts in `data`; text i ends at `ends[i]`, where the next begins.

    No window crosses the border of a text. A run may be cut in two where a chunk ends.
    """
    num_windows = len(data) - scheme.least_span + 1
    padded = data + _PADDING
    chunks = [_chunk_runs(padded, first, num_windows, ends, scheme) for first in range(0, num_windows, CHUNK_WINDOWS)]
    if not chunks:
        empty = np.zeros(0, np.int64)
        return WindowRuns(empty, empty, empty)
    first, count, gram = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return WindowRuns(first, count, gram)


def _chunk_runs(padded: bytes, first: int, num_windows: int, ends: Int64s, scheme: Scheme) -> tuple[Int64s, Int64s, Int64s]:
    count = min(CHUNK_WINDOWS, num_windows - first)
    places = first + _gram_places(padded, first, count, scheme)
    crosses = _crossing_windows(first, count, ends, scheme.least_span)
    begins = np.ones(count, bool)
    begins[1:] = (places[1:] != places[:-1]) | (crosses[1:] != crosses[:-1])
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=count)
    whole = ~crosses[starts]
    return first + starts[whole], lengths[whole], places[starts[whole]]


def _gram_places(padded: bytes, first: int, count: int, scheme: Scheme) -> Int64s:
    """Return for each window of a chunk where its k-gram begins, counted from the chunk's first byte."""
    order_bytes, width = scheme.order_bytes, scheme.least_span - scheme.order_bytes + 1
    loads = unaligned_loads(padded)[first : first + count + width - 1]
    # Little-endian loads: the shift drops the bytes after the t-gram.
    keys = (loads << np.uint64(8 * (LOAD_BYTES - order_bytes))) * _SPREAD
    keys ^= keys >> np.uint64(29)
    keys *= _MIX_1
    keys &= _HIGH_HALF
    keys |= np.arange(len(keys), dtype=np.uint64)  # of equal hashes the leftmost is least
    span = 1
    while 2 * span <= width:
        keys = np.minimum(keys[:-span], keys[span:])
        span *= 2
    if span < width:
        keys = np.minimum(keys[:count], keys[width - span :])
    windows = np.arange(count, dtype=np.int64)
    places: Int64s = windows + ((keys & _LOW_HALF).astype(np.int64) - windows) % scheme.grams_in_window
    return places


def _crossing_windows(first: int, count: int, ends: Int64s, least_span: int) -> npt.NDArray[np.bool_]:
    """Return which windows of a chunk hold the border of a text inside them."""
    low, high = np.searchsorted(ends, [first + 1, first + count + least_span - 1])
    crossing = ends[low:high, None] - np.arange(1, least_span) - first
    crosses = np.zeros(count, bool)
    crosses[crossing[(crossing >= 0) & (crossing < count)]] = True
    return crosses


def hash_spans(data: bytes, starts: Int64s, length: int) -> Hashes:
    """Return a 64-bit hash of the `length` bytes (8 or more) at each of `starts`; every bit depends on every byte."""
    loads = unaligned_loads(data)
    hashes: Hashes = loads[starts] ^ mix(np.full(1, length, np.uint64))
    for offset in [*range(LOAD_BYTES, length - LOAD_BYTES, LOAD_BYTES), length - LOAD_BYTES]:
        hashes = mix(hashes * _SPREAD + loads[starts + offset])
    return hashes


def hash_character_spans(data: bytes, starts: Int64s, count: int, ends: Int64s) -> tuple[npt.NDArray[np.bool_], Hashes]:
    """Return which of `starts` begin `count` whole characters of one text, and a hash of those characters for each.

    Of characters that are one byte each it is the hash of `hash_spans`. `count` bytes from any start must be there.
    """
    if data.isascii():
        return np.ones(len(starts), bool), hash_spans(data, starts, count)
    borders = np.append(np.flatnonzero((np.frombuffer(data, np.uint8) & 0xC0) != 0x80), len(data))
    first = np.searchsorted(borders, starts)
    stops = borders[np.minimum(first + count, len(borders) - 1)]
    kept = (borders[first] == starts) & (first + count < len(borders))
    kept &= stops <= ends[np.searchsorted(ends, starts, "right")]
    starts, stops = starts[kept], stops[kept]
    hashes = hash_spans(data, starts, count)
    for offset in range(count, 4 * count, count):  # a character has four bytes at most
        longer = stops - starts > offset
        blocks = hash_spans(data, np.minimum(starts + offset, stops - count)[longer], count)
        hashes[longer] = mix(hashes[longer] * _SPREAD + blocks)
    return kept, hashes


def mix(values: Hashes) -> Hashes:
    """Spread every bit of each value over all 64: the result is uniform where the values differ."""
    values = values ^ (values >> np.uint64(32))
    values *= _MIX_1
    values ^= values >> np.uint64(29)
    values *= _MIX_2
    values ^= values >> np.uint64(32)
    return values


def unaligned_loads(data: bytes | npt.NDArray[np.uint8]) -> Hashes:
    """Return a view of `data` whose element i is the eight bytes from byte i on."""
    return np.ndarray(max(len(data) - LOAD_BYTES + 1, 0), "<u8", data, strides=(1,))
