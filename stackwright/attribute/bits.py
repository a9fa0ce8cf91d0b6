"""Numbers in few bits: packed arrays of one width, and the place of the n-th zero of a bit string.

In: arrays of numbers. Out: bytes from which any of the numbers is read back without reading the rest. Both readers work
on many places at once, with a number of numpy calls that does not depend on how many. Bit i of a string is bit i mod 8
of byte i // 8.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Uint64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

MAX_WIDTH = 57
"""A number may begin at any bit of a byte and must lie within the eight bytes from there on."""

TAIL = bytes(8)
"""Ends every packed array, so that eight bytes can be read at its last number."""

_PACK_CHUNK = 1 << 16  # a multiple of eight, so that chunks end at whole bytes


def packed_bytes(count: int, width: int) -> int:
    """Return how many bytes `pack` makes of `count` numbers."""
    return -(-count * width // 8) + len(TAIL)


def pack(values: Uint64s, width: int) -> bytes:
    """Pack numbers below 2**width, width at most `MAX_WIDTH`."""
    parts = []
    for start in range(0, len(values), _PACK_CHUNK):
        chunk = values[start : start + _PACK_CHUNK].astype("<u8")
        bits = np.unpackbits(chunk.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")[:, :width]
        parts.append(np.packbits(bits, bitorder="little").tobytes())
    return b"".join(parts) + TAIL


def unpack(packed: Bytes, width: int, places: Int64s) -> Uint64s:
    """Return the numbers at `places` of what `pack` made."""
    loads: Uint64s = np.ndarray(len(packed) - 7, "<u8", packed, strides=(1,))
    bits = places * width
    values: Uint64s = (loads[bits >> 3] >> (bits & 7).astype(np.uint64)) & np.uint64((1 << width) - 1)
    return values


def place_of_zero(words: Uint64s, start: Int64s, rank: Int64s) -> Int64s:
    """Return the bit of the zero number `rank` (from 0) at or after bit `start`, for each pair; every one must exist."""
    word, rank = start >> 6, rank.copy()
    zeros = ~words[word] & (~np.uint64(0) << (start & 63).astype(np.uint64))
    while True:
        in_word = np.bitwise_count(zeros).astype(np.int64)
        further = rank >= in_word
        if not further.any():
            return (word << 6) + _nth_one(zeros, rank)
        rank -= np.where(further, in_word, 0)
        word = word + further
        zeros = np.where(further, ~words[word], zeros)


def _nth_one(words: Uint64s, rank: Int64s) -> Int64s:
    """Return the place of the one number `rank` in each word: halve the word, and go on in the half that holds it."""
    place = np.zeros(len(words), np.int64)
    for half in (32, 16, 8, 4, 2, 1):
        lower = np.bitwise_count((words >> place.astype(np.uint64)) & np.uint64((1 << half) - 1))
        above = rank >= lower
        rank = rank - np.where(above, lower, 0)
        place += half * above
    return place
