"""Texts in memory: normalised as everywhere, and traced back as everywhere."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stackwright.attribute.normalize import NormalizedText
from stackwright.attribute.originals import SEPARATOR, join_normalized

TEXTS = st.text(st.sampled_from("ab\n\r\t \u00a0\u2003\u3000\u00e9\u6f22\U0001f600"), max_size=60)


@settings(deadline=None)
@given(texts=st.lists(TEXTS, max_size=5))
def test_texts_are_normalised_one_after_another(texts: list[str]) -> None:
    joined = join_normalized(np.frombuffer(text.encode(), np.uint8) for text in texts)
    pieces = joined.data.tobytes().split(bytes([SEPARATOR]))
    assert pieces[: len(texts)] == [NormalizedText(text).data for text in texts]
    assert not any(pieces[len(texts) :])
    assert [joined.data[: joined.begins[number]].tolist().count(SEPARATOR) for number in range(len(texts))] == list(
        range(len(texts))
    )


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), data=st.data())
def test_spans_are_located_as_in_their_text(texts: list[str], data: st.DataObject) -> None:
    joined = join_normalized(np.frombuffer(text.encode(), np.uint8) for text in texts)
    number = data.draw(st.integers(0, len(texts) - 1))
    text = NormalizedText(texts[number])
    first = data.draw(st.integers(0, max(text.num_characters - 2, 0)))
    last = data.draw(st.integers(first + 2, text.num_characters)) if text.num_characters >= 2 else first
    if last > first:
        start, end = text.byte_of(first), text.byte_of(last)
        assert joined.locate(np.array([number]), np.array([start]), end - start) == [text.locate(start, end)]
