"""Bytes become text in one way, whatever they are."""

from __future__ import annotations

import pytest

from stackwright.measure.texts import language_of_text, text_of


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfone\r\ntwo\n", "one\r\ntwo\n"),
        ("naïve".encode(), "naïve"),
        ("naïve".encode("latin-1"), "na\ufffdve"),
        (b"", ""),
    ],
)
def test_text_is_utf_8_without_a_mark_and_line_ends_stay(data: bytes, text: str) -> None:
    assert text_of(data) == text


def test_language_may_stand_in_the_first_line() -> None:
    assert language_of_text("bin/made", "#!/usr/bin/env python3\n") == "Python"
    assert language_of_text("bin/made", "words\n") is None
