"""How a text is read into words: what is compared, what is left out, and where each word stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.govern.licenses.make_fingerprints import compared_words
from stackwright.govern.licenses.words import read_words


def compared(text: str) -> str:
    return " ".join(compared_words(read_words(text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1. The  Licence,\n * (b) to “use”", "the license to use"),
        ("# The license\n// to use", "the license to use"),
        ("dnl The license\ndnl to use", "the license to use"),
        ("<p>The &quot;license&quot;</p> to <b>use</b>", "the license to use"),
        ("The license https://example.org/license/a.html to use", "the license to use"),
        ("The license <holder@example.org> to use", "the license to use"),
        ("The license to <insert name here> use", "the license to use"),
        ("Copyright (c) 2020 Jane Doe\nThe license to use", "the license to use"),
        ("© 2020 Jane Doe. The license to use", "the license to use"),
        ("The above copyright notice and the copyright holder", "the above copyright notice and the copyright holder"),
        ("provided by Jane Doe and friends as is", "provided by as is"),
        ("in no event shall Jane Doe be liable", "in no event shall be liable"),
        ("may be used. All rights reserved.", "may be used"),
        ("with written permission of the Foo Team.", "with written permission of"),
    ],
)
def test_what_says_nothing_is_left_out(text: str, words: str) -> None:
    assert compared(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "Copyright 2020 Jane Doe, who does not permit you to sell it",
        "Copyright 2020 Jane Doe may be used in any way that seems proper given all these rather ordinary words",
        "provided by those who may not be named without permission as is",
        "The license to <the name, only with permission> use",
        "with written permission of the team except on Sundays.",
    ],
)
def test_terms_do_not_hide_where_names_stand(text: str) -> None:
    assert len(compared(text).split()) > len(text.split()) - 4


@given(st.text() | st.just("İİ Copyright © İstanbul\n<İ> license"))
def test_every_word_has_its_place_in_the_text(text: str) -> None:
    found = read_words(text)
    assert len(found.low) == len(text)
    assert [found.low[start:end] for start, end in found.spans] == found.words
    for index, (start, end) in enumerate(found.spans):
        assert found.words_between(start, end) == (index, index + 1)
        place = found.offsets[index]
        assert found.word_range(place, place + len(found.words[index])) == (index, index + 1)
