"""The editor of the page: what is typed is what is shown."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.serve.page.browser import BEFORE, Window


def test_what_is_typed_is_shown_in_colours(page: Window) -> None:
    page.write("")
    page.page.keyboard.type('def f(x):  # note\nreturn "a" + 12')
    assert page.text() == 'def f(x):  # note\nreturn "a" + 12'
    assert page.find("#layer").text_content() == page.text() + "\n"
    assert page.find("#layer .keyword").all_text_contents() == ["def", "return"]
    assert page.find("#layer .comment").all_text_contents() == ["# note"]
    assert page.find("#layer .string").all_text_contents() == ['"a"']
    assert page.find("#layer .number").all_text_contents() == ["12"]


@pytest.mark.parametrize(
    ("language", "text", "keywords", "comments"),
    [
        ("javascript", "const a = `x // ${y}`; // note", ["const"], ["// note"]),
        ("clike", "int f() { /* return */ return 0; }", ["int", "return"], ["/* return */"]),
        ("python", "x = '''if\n# no''' or returned", ["or"], []),
        ("generic", "if x # note", [], ["# note"]),
    ],
)
def test_each_language_has_its_own_colours(
    page: Window, language: str, text: str, keywords: list[str], comments: list[str]
) -> None:
    page.settings(language=language)
    page.write(text)
    assert page.find("#layer .keyword").all_text_contents() == keywords
    assert page.find("#layer .comment").all_text_contents() == comments


@pytest.mark.parametrize(
    ("text", "keywords"),
    [
        ("from a import b\n\nfor x in b:\n    typeof\n", ["from", "import", "for", "in"]),
        ("export function f(x) {\n  return typeof x === 'y';\n}\n", ["export", "function", "return", "typeof"]),
        ("#include <a.h>\nint f(void) {\n  return typeof;\n}\n", ["int", "void", "return"]),
        ("if it is prose, nothing for a language\n", []),
    ],
)
def test_the_language_is_told_by_the_look_of_the_text(page: Window, text: str, keywords: list[str]) -> None:
    page.write(text)
    assert page.find("#layer .keyword").all_text_contents() == keywords


def test_the_coloured_layer_lies_exactly_over_the_text(page: Window) -> None:
    lines = ["\tif (a\t== b) { return `→ é 漢字`; }", "x" * 300 + "\tend", "    -> != === ffi", *["line"] * 60, ""]
    page.write("\n".join(lines))
    # One of the two in black, the other away: the pictures must be the same, wherever the box is scrolled to.
    paint = (
        "([layer, text]) => { const set = (at, value) => at.style.setProperty('color', value, 'important');"
        "for (const at of document.querySelectorAll('#layer, #layer *')) set(at, layer);"
        "const area = document.getElementById('text'); set(area, text); area.style.caretColor = 'transparent'; }"
    )
    for left, top in ((0, 0), (900, 0), (0, 700), (20, 1100)):
        scroll = f"box => {{ box.scrollTo({left}, {top}); return [box.scrollLeft, box.scrollTop]; }}"
        assert page.find("#editor").evaluate(scroll) == [left, top]
        pictures = []
        for colours in (["black", "transparent"], ["transparent", "black"], ["transparent", "transparent"]):
            page.page.evaluate(paint, colours)
            pictures.append(page.find("#editor").screenshot())
        assert pictures[0] == pictures[1], (left, top)
        assert pictures[0] != pictures[2]


def test_the_cursor_is_kept_in_sight(page: Window) -> None:
    page.write("\n".join(["x" * 400] * 80))
    place = page.page.evaluate("[document.getElementById('editor').scrollLeft, document.getElementById('editor').scrollTop]")
    assert place[0] > 1000
    assert place[1] > 1000
    page.page.keyboard.press("Control+Home")
    page.page.wait_for_function(
        "() => document.getElementById('editor').scrollLeft < 20 && document.getElementById('editor').scrollTop < 20"
    )


def test_a_new_line_begins_where_the_line_before_began(page: Window) -> None:
    page.write("    total = 0")
    page.page.keyboard.press("Enter")
    page.page.keyboard.type("x")
    assert page.text() == "    total = 0\n    x"


def test_tab_leaves_the_editor_where_there_is_nothing_to_accept(page: Window) -> None:
    page.write(BEFORE)
    page.page.keyboard.press("Tab")
    expect(page.find("#text")).not_to_be_focused()
    assert page.text() == BEFORE
