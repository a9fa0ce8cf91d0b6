"""Recognise licences in a text: which ones, where, and what else the text says.

In: the text of a licence file, the opening comments of a source file, or a readme. Out: a `Recognition`. A permissive
licence counts as recognised only when nearly all of its words are there, in order, and what stands between them is nothing.
Every word of a licence file is explained (by a text, a tag, a sentence that names a licence, a copyright line, a title, a
pointer to a file, prose that binds nobody) or counted as remainder; a remainder of more than a few words, or of one that
binds, joins the expression as LicenseRef-unknown, so that "MIT, and these further terms" is never permissive. Never raises.
Importing this is light; the first call reads the fingerprints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stackwright.govern.licenses.classes import LicenseClass

_TEXT_SIGNAL = re.compile(r"permi|redistribut|as[ -]is|warrant|beer|disclaim", re.IGNORECASE)
_HEADING = re.compile(
    r"^(?:#{1,6}[ \t]*(?P<marked>[^\n]+?)[ \t#]*|(?P<under>[^\n]{2,80})\n[=\-~^\"'*+#]{3,}[ \t]*"
    r"|=+[ \t]*(?P<wiki>[^\n=]+?)[ \t]*=*)$",
    re.MULTILINE,
)
_ABOUT_LICENSE = re.compile(r"licen[sc]|copying|copyright|legal", re.IGNORECASE)
_LICENSING_SENTENCE = re.compile(
    r"[^\n.]*\b(?:is|are|was) (?:\w+ )?(?:licensed|released|distributed|made available) under\b[^\n]*", re.IGNORECASE
)


@dataclass(frozen=True)
class Match:
    """One licence in a text: characters from `start` to `end`, lines from 1.

    `kind` is `text` for a whole licence, `changed` for one whose words differ too much to be it, `reference` for a sentence
    or an address that names it, `tag` for a machine-readable line. `coverage` is the share of the licence's words that are
    there; `extra_words` stand among them without belonging to it.
    """

    expression: str
    kind: str
    start: int
    end: int
    start_line: int
    end_line: int
    coverage: float = 1.0
    extra_words: int = 0
    nearest: str = ""  # of a changed text, the licence that it was changed from


@dataclass(frozen=True)
class Recognition:
    """What a text says of its licence. `expression` is None when it says nothing; `why` is one line for a reader.

    `stated` is the expression without what the remainder adds to it: what the recognised parts say alone. `remainder`
    counts the words that nothing explains; `remainder_spans` says where they are, in characters.
    """

    matches: tuple[Match, ...]
    expression: str | None
    license_class: LicenseClass
    stated: str | None
    remainder: int
    remainder_spans: tuple[tuple[int, int], ...]
    why: str


NOTHING = Recognition((), None, "none", None, 0, (), "says nothing of a licence")


def recognize(text: str) -> Recognition:
    """Return what the text of a licence file says. Pure."""
    from stackwright.govern.licenses.conclusion import conclude  # numpy, and the fingerprints when first needed
    from stackwright.govern.licenses.reading import Reading

    reading = Reading(text)
    reading.match_texts()
    reading.match_references()
    reading.match_plain()
    return conclude(reading)


def recognize_header(comments: str) -> Recognition:
    """Return what the opening comments of a source file say. Prose beside the licence counts only where it states terms."""
    from stackwright.govern.licenses.conclusion import conclude_header
    from stackwright.govern.licenses.reading import Reading

    reading = Reading(comments)
    if _TEXT_SIGNAL.search(comments):
        reading.match_texts()
    reading.match_references()
    return conclude_header(reading)


def recognize_prose(text: str) -> Recognition:
    """Return what a readme says of its licence: the sections whose heading says licence, else sentences that license it."""
    sections = "\n\n".join(_license_sections(text)) or "\n".join(match[0] for match in _LICENSING_SENTENCE.finditer(text))
    return recognize_header(sections) if sections else NOTHING


def _license_sections(text: str) -> Iterable[str]:
    """Yield the sections of a text whose heading is about the licence, up to the next heading."""
    headings = list(_HEADING.finditer(text))
    for heading, after in zip(headings, [*headings[1:], None]):
        title = heading["marked"] or heading["under"] or heading["wiki"]
        if _ABOUT_LICENSE.search(title):
            yield f"{title}\n{text[heading.end() : None if after is None else after.start()]}"
