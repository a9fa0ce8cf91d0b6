"""Filters measure what they say and break exactly above their limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.curate.filters import alphanumeric_fraction, check_filters, longest_line, mean_line_length
from stackwright.recipe import FilterSettings

OFF = FilterSettings(max_line_length=None, max_mean_line_length=None, min_alphanumeric_fraction=None, drop_generated=False)


def document(text: str, *, generated: bool = False, path: str = "a.py") -> dict[str, Any]:
    return {"path": path, "content": text, "is_generated": generated}


def reasons(text: str, **settings: Any) -> list[str]:
    return [fired.reason for fired in check_filters(document(text), OFF.model_copy(update=settings))]


@given(st.text(alphabet="ab \t\r\nñ0_", max_size=60))
def test_measures_agree_with_their_definitions(text: str) -> None:
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    length, start, end = longest_line(text)
    assert length == max(map(len, lines)) == len(text[start:end])
    letters = sum(character.isalnum() for character in text)
    assert alphanumeric_fraction(text) == pytest.approx(letters / len(text) if text else 0.0)
    counted = text[:-1].split("\n") if text.endswith("\n") else text.split("\n")
    whole = [line.removesuffix("\r") if index < text.count("\n") else line for index, line in enumerate(counted)]
    assert mean_line_length(text) == pytest.approx(sum(map(len, whole)) / len(counted))


def test_limits_are_the_last_value_that_passes() -> None:
    assert reasons("x" * 10, max_line_length=10) == []
    assert reasons("x" * 11, max_line_length=10) == ["line_too_long"]
    assert reasons("xx\n" * 3, max_mean_line_length=2.0) == []
    assert reasons("xxx\nxx\n", max_mean_line_length=2.0) == ["mean_line_too_long"]
    assert reasons("a...", min_alphanumeric_fraction=0.25) == []
    assert reasons("a....", min_alphanumeric_fraction=0.25) == ["too_few_alphanumeric"]


def test_none_switches_a_rule_off_and_zero_means_zero() -> None:
    assert reasons("x" * 100_000) == []
    assert reasons("...", min_alphanumeric_fraction=0.0) == []
    assert reasons("x", max_mean_line_length=0.5) == ["mean_line_too_long"]


def test_evidence_holds_value_limit_and_place() -> None:
    [fired] = check_filters(document("ab\ncdefg\r\nh"), OFF.model_copy(update={"max_line_length": 4}))
    assert (fired.value, fired.limit, fired.start, fired.end) == (5, 4, 3, 8)


def test_generated_files_name_their_phrase_and_can_be_kept() -> None:
    made = document("# auto-generated\n", generated=True)
    [fired] = check_filters(made, OFF.model_copy(update={"drop_generated": True}))
    assert (fired.reason, fired.matched) == ("generated_file", "auto-generated")
    assert check_filters(made, OFF) == []


def test_every_rule_that_breaks_is_listed() -> None:
    settings = FilterSettings(max_line_length=5, max_mean_line_length=5.0)
    found = [fired.reason for fired in check_filters(document("." * 20, generated=True, path="package-lock.json"), settings)]
    assert found == ["generated_file", "line_too_long", "mean_line_too_long", "too_few_alphanumeric"]
