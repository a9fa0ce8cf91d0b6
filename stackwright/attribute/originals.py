"""From many normalised texts in memory back to the texts as they were: which characters, which lines.

In: texts in UTF-8. Out: their normalised forms (see normalize.py), one after another with `SEPARATOR` after each, and a map
from bytes of these to characters and lines of the texts.

The map is piecewise linear: as long as visible characters of one byte follow one another, the next byte is the next
character of the same line. Only where this breaks, after a run of white space or a longer character, something is kept: the
byte, how far its character is from it, and its line. Code has about one such place in thirty bytes.
"""

# Numba reads these functions, not a type checker: it has no types of its own to give.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from stackwright.attribute.bits import Bytes, Int64s
from stackwright.attribute.fingerprint import LOAD_BYTES
from stackwright.attribute.normalize import BLANK, Location, is_continuation, space_table

Int32s = npt.NDArray[np.int32]

SEPARATOR = 0xFF
"""Stands after every text. No UTF-8 has this byte, so nothing agrees across the border of two texts."""

_is_continuation = njit(cache=True)(is_continuation)


@dataclass(frozen=True)
class JoinedTexts:
    """Normalised texts; text i begins at byte `begins[i]` of `data`, which ends with `LOAD_BYTES` separators more.

    From byte `breaks[k]` on, up to the next break, a byte's character is its number plus `shifts[k]`, in line `lines[k]`.
    """

    data: Bytes
    begins: Int64s
    breaks: Int32s
    shifts: Int32s
    lines: Int32s

    def locate(self, documents: Int64s, offsets: Int64s, length: int) -> list[Location]:
        """Return where `length` bytes from an offset in each document on, whole characters, stand in the text as it was."""
        located = _locate(self.data, self.breaks, self.shifts, self.lines, self.begins[documents] + offsets, length)
        return [Location(*row) for row in located.tolist()]


def join_normalized(texts: Iterable[Bytes]) -> JoinedTexts:
    """Return the texts, given in UTF-8, normalised."""
    joined, begins, pieces = bytearray(), list[int](), [np.zeros((3, 0), np.int32)]
    is_space = space_table()
    for text in texts:
        begins.append(len(joined))
        normalized, breaks = _normalize(text, is_space, len(joined))
        joined += memoryview(normalized)
        joined.append(SEPARATOR)
        pieces.append(breaks)
    breaks, shifts, lines = np.concatenate(pieces, axis=1)
    joined += bytes([SEPARATOR]) * LOAD_BYTES
    return JoinedTexts(np.frombuffer(joined, np.uint8), np.array(begins, np.int64), breaks, shifts, lines)


@njit(cache=True)
def _locate(data, breaks, shifts, lines, starts, length):
    """Return a row of `Location` for each place."""
    located = np.empty((len(starts), 4), np.int64)
    for row, start in enumerate(starts):
        last = _first_byte(data, start + length - 1)
        visible_last = _first_byte(data, last - 1) if data[last] == BLANK else last
        located[row, 0] = start + shifts[_piece(breaks, start)]
        located[row, 1] = last + shifts[_piece(breaks, last)] + 1
        located[row, 2] = lines[_piece(breaks, start + (data[start] == BLANK))]
        located[row, 3] = lines[_piece(breaks, visible_last)]
    return located


@njit(cache=True)
def _first_byte(data, byte):
    while _is_continuation(data[byte]):
        byte -= 1
    return byte


@njit(cache=True)
def _piece(breaks, byte):
    return np.searchsorted(breaks, np.int32(byte), "right") - 1


@njit(cache=True)
def _character(text, place):
    """Return the code point of the character that begins at `place`, and its length in bytes."""
    lead = np.int64(text[place])
    if lead < 0x80:
        return lead, 1
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    code = lead & (0x7F >> length)
    for place_of_next in range(place + 1, place + length):
        code = code << 6 | np.int64(text[place_of_next]) & 0x3F
    return code, length


@njit(cache=True)
def _normalize(text, is_space, first):
    """Return the normalised text, of which the first byte has number `first`, and columns of breaks, shifts and lines."""
    normalized, found = np.empty(len(text), np.uint8), np.empty((3, len(text)), np.int32)
    size, count, character, line = 0, 0, 0, 1
    run, shift, last_line = 0, 0, 0  # a run's characters; what holds for the piece at hand
    place = 0
    while place < len(text):
        code, length = _character(text, place)
        if is_space[min(code, len(is_space) - 1)]:
            run += 1
            line += code == 10
        else:
            if run > 0 and size > 0:
                blank = character - run
                if blank - size - first != shift:
                    shift = blank - size - first
                    found[0, count], found[1, count], found[2, count] = first + size, shift, last_line
                    count += 1
                normalized[size] = BLANK
                size += 1
            run = 0
            if character - size - first != shift or line != last_line:
                shift, last_line = character - size - first, line
                found[0, count], found[1, count], found[2, count] = first + size, shift, line
                count += 1
            for byte in range(length):
                normalized[size + byte] = text[place + byte]
            size += length
        character += 1
        place += length
    return normalized[:size], found[:, :count].copy()
