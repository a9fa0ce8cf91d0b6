"""Normalised texts: what they are, and the way back to the text."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.attribute.normalize import LAST_SPACE, NormalizedText, normalize
from tests.attribute.corpora import normalized_with_places

TEXTS = st.text(st.sampled_from("ab\n\r\t \u00a0\u2003\u3000é漢😀\ud800"), max_size=60)


@given(text=TEXTS)
def test_every_character_is_mapped_back_to_where_it_stands(text: str) -> None:
    plain, places = normalized_with_places(text)
    mapped = NormalizedText(text)
    assert mapped.data == plain.encode("utf-8", "surrogatepass")
    assert normalize(text) == plain
    assert mapped.num_characters == len(plain)
    starts = [len(plain[:index].encode("utf-8", "surrogatepass")) for index in range(len(plain) + 1)]
    for index in range(len(plain)):
        assert mapped.original_span(starts[index], starts[index + 1]) == (places[index], places[index] + 1)
        assert mapped.character_of(starts[index]) == index
        span = mapped.original_span(starts[index // 2], starts[index + 1])
        assert normalize(text[slice(*span)]) == plain[index // 2 : index + 1].strip()


@given(text=TEXTS, start=st.integers(0, 200), length=st.integers(0, 200))
def test_spans_are_trimmed_to_whole_characters(text: str, start: int, length: int) -> None:
    mapped = NormalizedText(text)
    start, end = (min(place, len(mapped.data)) for place in (start, start + length))
    first, last = mapped.trim_to_characters(start, end)
    borders = {len(normalize(text)[:index].encode("utf-8", "surrogatepass")) for index in range(len(mapped.data) + 1)}
    inside = [border for border in borders if start <= border <= end]
    if len(inside) > 1:
        assert (first, last) == (min(inside), max(inside))
    else:
        assert first >= last


def test_no_white_space_lies_above_the_table() -> None:
    assert chr(LAST_SPACE).isspace()
    assert not any(chr(code).isspace() for code in range(LAST_SPACE + 1, sys.maxunicode + 1))


@pytest.mark.parametrize("text", ["", " ", "\r\n\t \u3000"])
def test_white_space_alone_is_nothing(text: str) -> None:
    assert NormalizedText(text).data == b""
    assert NormalizedText(text).num_characters == 0
