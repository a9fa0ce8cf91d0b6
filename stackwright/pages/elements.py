"""Building blocks of a page: every one takes text or finished HTML and gives well-formed HTML.

In: plain strings, which are escaped, and `Html`, which is not. Out: `Html`. Invariants: nothing that a user, a file name
or a licence text supplies can become markup, since only this module makes `Html` out of strings; every element that is
opened is closed; a page is whole in itself, with its style inside and no reference to anything else.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files


class Html(str):
    """Finished HTML. A plain string is text, and is escaped wherever it meets HTML."""

    __slots__ = ()


Content = str | Html
"""What may stand inside an element."""

VOID = frozenset({"meta", "br", "col"})
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")

NO_HTML = Html("")


def visible(text: str) -> str:
    """Return `text` with control characters, direction marks and other unseen characters shown as what they are.

    Line ends and tabs stay. A lone surrogate, which no encoding can write, becomes its number.
    """
    return _UNSEEN.sub(_picture, text)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"[U+{code:04X}]"


def escape(content: Content) -> Html:
    """Return text as HTML; what is HTML already stays as it is."""
    return content if isinstance(content, Html) else Html(html.escape(visible(str(content))))


def join(contents: Iterable[Content], between: Content = "") -> Html:
    """Return the contents one after another."""
    return Html(escape(between).join(escape(content) for content in contents))


def element(tag: str, *contents: Content, **attributes: str | int | float | None) -> Html:
    """Return one element.

    In attribute names a final underscore is dropped and the others become hyphens: `class_`, `aria_label`. An attribute
    that is None is left out. The name of the tag is ours, never a user's.
    """
    names = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items() if value is not None)
    written = "".join(f' {name}="{html.escape(visible(str(value)))}"' for name, value in names)
    if tag in VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{join(contents)}</{tag}>")


def paragraph(*contents: Content, class_: str | None = None) -> Html:
    return element("p", *contents, class_=class_)


def code(text: str) -> Html:
    """Return a name from the run, such as a path, in fixed width; it may break anywhere."""
    return element("code", text)


@dataclass(frozen=True)
class Column:
    """One column of a table; numbers are aligned on the right with equal digits."""

    label: str
    is_number: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[Content]], *, caption: str) -> Html:
    """Return a table that scrolls inside its own box; the first cell of each row is its heading.

    The caption stands above the box, so that it does not scroll away, and is the name of both. The box can be focused, so
    that it scrolls with the keyboard too.
    """
    classes = ["number" if column.is_number else None for column in columns]
    head = [element("th", column.label, scope="col", class_=name) for column, name in zip(columns, classes, strict=True)]
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=name) if index else element("th", cell, scope="row", class_=name)
                for index, (cell, name) in enumerate(zip(row, classes, strict=True))
            ),
        )
        for row in rows
    ]
    whole = element("table", element("thead", element("tr", *head)), element("tbody", *body), aria_label=caption)
    box = element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)
    return element("figure", element("figcaption", caption, class_="caption"), box, class_="table")


@dataclass(frozen=True)
class Tile:
    """One figure that is worth reading first."""

    label: str
    value: str
    note: str = ""


def tiles(entries: Sequence[Tile]) -> Html:
    """Return the figures side by side, as a list of terms."""
    cells = [
        element(
            "div",
            element("dt", entry.label),
            element("dd", entry.value, class_="value"),
            element("dd", entry.note, class_="note") if entry.note else NO_HTML,
        )
        for entry in entries
    ]
    return element("dl", *cells, class_="tiles") if cells else NO_HTML


def details(summary: Content, *contents: Content, is_open: bool = False) -> Html:
    """Return contents that are folded away until asked for; no script is needed."""
    return element("details", element("summary", summary), *contents, open="open" if is_open else None)


def excerpt(text: str, *, label: str) -> Html:
    """Return lines of a file in a box that scrolls by itself."""
    return element("pre", element("code", text), tabindex=0, role="region", aria_label=label)


@dataclass(frozen=True)
class Section:
    """One part of a page, with the name by which the navigation points at it."""

    slug: str
    title: str
    body: Html
    in_navigation: bool = True

    def to_html(self) -> Html:
        heading = f"{self.slug}-title"
        return element("section", element("h2", self.title, id=heading), self.body, id=self.slug, aria_labelledby=heading)


def page(title: str, lede: Content, sections: Sequence[Section]) -> str:
    """Return a whole document: head with the style, title, navigation and sections."""
    style = files("stackwright.pages").joinpath("style.css").read_text("utf-8")
    links = [
        element("li", element("a", section.title, href=f"#{section.slug}")) for section in sections if section.in_navigation
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Html(style)),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        element("header", element("h1", title), lede if isinstance(lede, Html) else paragraph(lede, class_="lede")),
        element("nav", element("ul", *links), aria_label="Sections") if len(links) > 1 else NO_HTML,
        element("main", *(section.to_html() for section in sections), id="content"),
        element(
            "footer",
            paragraph("Made by Stackwright from finished artefacts; nothing on this page is loaded from elsewhere."),
        ),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"
