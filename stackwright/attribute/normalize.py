"""White space is not evidence: texts are compared after every run of it became one blank, and none is left at the ends.

In: a text. Out: its normalised form in UTF-8 with the way back, from bytes of that form to characters of the text. Two
texts that differ in indentation, line ends or wrapping alone have equal forms. A span of n characters has at least n
bytes, so what is guaranteed for bytes holds for characters.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

BLANK = 0x20
"""The byte of a blank. A normalised text has no other white space."""

LAST_SPACE = 0x3000
"""The highest code point that Python counts as white space."""


def normalize(text: str) -> str:
    """Return `text` with every run of white space as one blank and none at its ends."""
    return " ".join(text.split())


class Location(NamedTuple):
    """Where a span stands in a text: characters `start` to `end`, and its lines, from 1 and both inclusive.

    A span may begin or end with the blank that stands for a line's end; the lines are those of what can be seen.
    """

    start: int
    end: int
    start_line: int
    end_line: int


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

    @cached_property
    def _line_ends(self) -> Int64s:
        """The place of each line feed in the text."""
        return np.flatnonzero(_code_points(self.text) == ord("\n"))

    def locate(self, start: int, end: int) -> Location:
        """Return where a span of bytes, not empty and of whole characters, lies in the text."""
        first, last = self.original_span(start, end)
        shown = self.text[first:last]
        visible_first, visible_last = first + len(shown) - len(shown.lstrip()), last - len(shown) + len(shown.rstrip()) - 1
        first_line, last_line = self._line_ends.searchsorted([visible_first, visible_last]).tolist()
        return Location(first, last, first_line + 1, last_line + 1)

    def trim_to_characters(self, start: int, end: int) -> tuple[int, int]:
        """Return the part of a span of bytes that consists of whole characters."""
        while start < end and is_continuation(self.data[start]):
            start += 1
        while end > start and end < len(self.data) and is_continuation(self.data[end]):
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
        return not is_continuation(self.data[byte])

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a span of bytes, not empty and of whole characters, lies in the text, in characters."""
        first, last = self.character_of(start), self.character_of(end) - 1
        return int(self._kept[first]), int(self._kept[last]) + 1


def is_continuation(byte: int) -> bool:
    """Whether a byte of UTF-8 goes on with a character that began before it."""
    return byte & 0xC0 == 0x80


@cache
def space_table() -> npt.NDArray[np.bool_]:
    """Return which code points are white space."""
    return np.array([chr(code).isspace() for code in range(LAST_SPACE + 2)])  # the last entry stands for all above


def _spaces(text: str) -> npt.NDArray[np.bool_]:
    """Return which characters of `text` are white space."""
    return np.take(space_table(), _code_points(text), mode="clip")


def _code_points(text: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint32]:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
