"""What is not markup never becomes markup, and what is opened is closed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stackwright.pages import formats
from stackwright.pages.elements import Column, Html, Section, element, escape, page, table, visible
from tests.pages.artifacts import ATTACK, Page


@given(st.text())
def test_any_text_comes_back_from_a_page_as_text(text: str) -> None:
    parsed = Page(element("p", text, title=text))
    assert parsed.tags == ["p"]
    assert "".join(parsed.texts) == visible(text)


def test_control_characters_are_shown_as_what_they_are() -> None:
    assert visible("a\x00\x1b\x7f\u202eb\ud800\n\tc") == "a␀␛␡[U+202E]b[U+D800]\n\tc"


def test_html_is_not_escaped_twice_and_strings_cut_from_it_are_text_again() -> None:
    made = element("b", "<")
    assert escape(made) == "<b>&lt;</b>"
    assert escape(made[:3]) == "&lt;b&gt;"
    assert isinstance(escape("x"), Html)


def test_table_marks_headings_and_aligns_numbers() -> None:
    made = table([Column("name"), Column("files", True)], [("a", "1"), (ATTACK, "2")], caption="Files")
    assert '<th scope="row">a</th><td class="number">1</td>' in made
    assert '<th scope="col" class="number">files</th>' in made
    assert "<script" not in made
    assert 'tabindex="0"' in made


def test_page_stands_alone_and_names_its_sections() -> None:
    html = page(
        ATTACK,
        "lede",
        [Section("one", "One", Html("<p>x</p>")), Section("two", "Two", Html(""), False), Section("three", "3", Html(""))],
    )
    parsed = Page(html)
    assert html.startswith('<!doctype html>\n<html lang="en">')
    assert parsed.references == ["#content", "#one", "#three"]
    assert "script" not in parsed.tags
    assert "title" in parsed.tags
    assert {"one", "one-title", "two", "content"} <= set(parsed.ids)


def test_numbers_read_with_units_and_a_dash_for_none() -> None:
    assert formats.count(26573) == "26,573"
    assert formats.size(211_646_193) == "211.6 MB"
    assert formats.size(999) == "999 B"
    assert formats.share(1, 10_000) == "< 0.1 %"
    assert formats.share(0, 0) == "–"
    assert formats.duration(664.1) == "11 min 4 s"
    assert formats.duration(59.97) == "1 min 0 s"
    assert formats.duration(3_725) == "1 h 2 min"
    assert formats.short(1500) == "1.5k"
    assert formats.short(0.0001) == "1e-4"
    assert formats.short(0) == "0"
    assert formats.interval(2.084, 2.0, None) == "2.084"
    assert formats.decimal(float("nan")) == "–"
    assert formats.measured(0.0743672) == "0.07437"
