"""White space is not evidence: texts are compared after every run of it became one blank, and none is left at the ends.

In: a text. Out: its normalised form in UTF-8 with the way back, from bytes of that form to characters of the text. Two
texts that differ in indentation, line ends or wrapping alone have equal forms. A span of n characters has at least n
bytes, so what is guaranteed for bytes holds for characters.
"""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

LAST_SPACE = 0x3000
"""The highest code point that Python counts as white space."""


def normalize(text: str) -> str:
    """Return `text` with every run of white space as one blank and none at its ends."""
    return " ".join(text.split())


class NormalizedText:
    """A text, its normalised form `data`, and the map between the two. Maps are made when they are first asked for."""

    def __init__(self, text: str) -> None:
        self.text = text
        # A query may hold lone surrogates; no stored text does, so they match nothing.
        self.data = normalize(text).encode("utf-8", "surrogatepass")
        self._is_ascii = self.data.isascii()

    @cached_property
    def num_characters(self) -> int:
        """Characters of the normalised form."""
        return len(self.data) if self._is_ascii else len(self._borders) - 1

    @cached_property
    def _borders(self) -> Int64s:
        """The byte at which each character begins, and where the last one ends."""
        starts = np.flatnonzero((np.frombuffer(self.data, np.uint8) & 0xC0) != 0x80)
        return np.append(starts, len(self.data))

    @cached_property
    def _kept(self) -> Int64s:
        """For each character of the normalised form, its place in the text; a blank is the first of its run."""
        space = _spaces(self.text)
        visible = np.flatnonzero(~space)
        kept = ~space
        kept[1:] |= ~space[:-1]
        return np.flatnonzero(kept[: visible[-1] + 1]) if len(visible) else visible

    def trim_to_characters(self, start: int, end: int) -> tuple[int, int]:
        """Return the part of a span of bytes that consists of whole characters."""
        while start < end and self.data[start] & 0xC0 == 0x80:
            start += 1
        while end > start and end < len(self.data) and self.data[end] & 0xC0 == 0x80:
            end -= 1
        return start, end

    def character_of(self, byte: int) -> int:
        """Return the number of characters of the normalised form that begin before `byte`."""
        return byte if self._is_ascii else int(np.searchsorted(self._borders, byte))

    def byte_of(self, character: int) -> int:
        """Return the byte at which a character of the normalised form begins; the end for those after the last."""
        character = min(character, self.num_characters)
        return character if self._is_ascii else int(self._borders[character])

    def characters_of(self, places: Int64s) -> Int64s:
        """Return `character_of` each."""
        return places if self._is_ascii else np.searchsorted(self._borders, places)

    def bytes_of(self, characters: Int64s) -> Int64s:
        """Return `byte_of` each."""
        characters = np.minimum(characters, self.num_characters)
        return characters if self._is_ascii else self._borders[characters]

    def begins_character(self, byte: int) -> bool:
        """Whether a character begins at `byte`."""
        return self.data[byte] & 0xC0 != 0x80

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a span of bytes, not empty and of whole characters, lies in the text, in characters."""
        first, last = self.character_of(start), self.character_of(end) - 1
        return int(self._kept[first]), int(self._kept[last]) + 1


@cache
def _space_table() -> npt.NDArray[np.bool_]:
    return np.array([chr(code).isspace() for code in range(LAST_SPACE + 2)])  # the last entry stands for all above


def _spaces(text: str) -> npt.NDArray[np.bool_]:
    """Return which characters of `text` are white space."""
    codes: Int64s
    if text.isascii():
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64)
    else:
        codes = np.minimum(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4"), LAST_SPACE + 1).astype(np.int64)
    return np.take(_space_table(), codes)
