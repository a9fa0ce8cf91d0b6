"""The vectorised edit distance equals its definition."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.evaluate.edit_similarity import edit_distance, edit_similarity


def plain_distance(first: str, second: str) -> int:
    """The definition: the last characters are kept or replaced, or one of them is left out."""

    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        replaced = distance(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(replaced, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(first), len(second))


LINES = st.text(alphabet="ab é\U0001f40d", max_size=12)


@given(LINES, LINES)
def test_distance_equals_the_recursion(first: str, second: str) -> None:
    assert edit_distance(first, second) == plain_distance(first, second)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("", "", 1.0), ("", "abcd", 0.0), ("abcd", "", 0.0), ("same", "same", 1.0), ("abcd", "abXd", 0.75), ("ab", "ba", 0.0)],
)
def test_similarity_is_a_share_of_the_longer_line(first: str, second: str, expected: float) -> None:
    assert edit_similarity(first, second) == expected


def test_lone_surrogates_are_characters_like_others() -> None:
    assert edit_distance("a\ud800", "a\udc00") == 1
