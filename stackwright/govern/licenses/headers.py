"""Licences in source files: what the opening comments of a file say.

In: the text of a file and its language. Out: `Evidence` when they name a licence, hold one, or state terms that nobody
recognised; None when they say nothing. Only comments are read, only at the beginning (200 lines, 8 KB), and only until the
first code after them: what a program says about licences further down is its subject. The rest of the comment is prose and
may say anything but terms.
"""

from __future__ import annotations

import re
from functools import lru_cache

from stackwright.govern.licenses.evidence import Evidence
from stackwright.govern.licenses.recognize import recognize_header

MOST_LINES = 200
MOST_CHARACTERS = 8192

_LINES_OF_CODE_BEFORE = 12
"""A file may begin with a guard, an opening tag or a package name before its first comment."""

_CACHED = 8192

# Without one of these a beginning says nothing. Searched for one by one: that is far quicker than one expression.
_SIGNALS = (
    "licens", "licenc", "copying", "permission", "redistribut", "public domain", "propriet", "confidential", "unauthori",
    "commercial", "gpl", "warrant", "training", "data mining", "rights reserved", "forbidden", "prohibited",
)  # fmt: skip
_BLOCKS = (
    ("/*", "*/"), ("<!--", "-->"), ('"""', '"""'), ("'''", "'''"), ("(*", "*)"), ("{-", "-}"), ("--[[", "]]"), ("#|", "|#"),
    ("#=", "=#"), ("%{", "%}"), ("=begin", "=end"), ("=pod", "=cut"), ("<#", "#>"), ("{{!", "}}"), ("<%--", "--%>"),
)  # fmt: skip
_LINE = re.compile(
    r"(?:#(?!include|define|ifn?def|if |endif|pragma|import)|//|\*|--|;|%|!|\.\.|::|@?rem\b|dnl\b|\\|~)", re.IGNORECASE
)
# Lines that stand before the licence in many files and are no code that would end the beginning.
_GUARD = re.compile(
    r"#[ \t]*(?:ifn?def|if|define|pragma|ident|endif)\b|<\?(?:php|xml)|[\"']use strict[\"']|@charset|<!doctype",
    re.IGNORECASE,
)
_DOCSTRINGS = ('"""', "'''")
# Where a line of code may begin with a string, a quotation mark opens a comment only in these.
_QUOTE_LANGUAGES = frozenset(["VBA", "VBScript", "Vim Script", "Visual Basic .NET", "Visual Basic 6.0", "Smalltalk"])
# In these only comments of the markup count; their lines begin with anything.
_PROSE_LANGUAGES = frozenset(
    ["Markdown", "reStructuredText", "Text", "AsciiDoc", "Org", "HTML", "XML", "SVG", "JSON", "CSV"]
)
_FIELD = re.compile(r"^__licen[sc]e__[ \t]*=.*$", re.MULTILINE)


def header_evidence(text: str, language: str | None = None) -> Evidence | None:
    """Return what the beginning of a file says of its licence; None when it says nothing. Pure, and remembers headers."""
    beginning = text[:MOST_CHARACTERS]
    if not _has_signal(beginning):
        return None
    comments = opening_comments(beginning, language)
    fields = "\n".join(match[0] for match in _FIELD.finditer(beginning))
    if not fields and not _has_signal(comments):
        return None
    return _evidence_in(f"{comments}\n{fields}" if fields else comments)


def _has_signal(text: str) -> bool:
    low = text.lower()
    return any(signal in low for signal in _SIGNALS)


@lru_cache(_CACHED)
def _evidence_in(comments: str) -> Evidence | None:
    found = recognize_header(comments)
    if found.expression is None:
        return None
    return Evidence("", "", "header", "header", found.expression, found.license_class, found.why)


def opening_comments(text: str, language: str | None = None) -> str:
    """Return the comments at the beginning of a file, line by line, until code follows them."""
    prose = language in _PROSE_LANGUAGES
    kept: list[str] = []
    end, code = None, 0
    for line in text.splitlines()[:MOST_LINES]:
        bare = line.strip()
        if end is not None:
            inside, closed, _ = bare.partition(end)
            kept.append(inside)
            end = None if closed else end
            continue
        opened = next((block for block in _BLOCKS if bare.lstrip("rRuUbB@").startswith(block[0])), None)
        if opened is not None and opened[0] in _DOCSTRINGS and code:
            break  # a string that is not the first statement is data
        if opened is not None:
            inside, closed, _ = bare.partition(opened[0])[2].partition(opened[1])
            kept.append(inside)
            end = None if closed else opened[1]
        elif not bare:
            kept.append("")
        elif _GUARD.match(bare):
            continue
        elif not prose and (_LINE.match(bare) or (language in _QUOTE_LANGUAGES and bare[0] in "\"'")):
            kept.append(line)
        else:
            code += 1
            holds_data = any(bare.count(quotes) % 2 for quotes in _DOCSTRINGS)
            if any(kept) or code > _LINES_OF_CODE_BEFORE or holds_data:
                break
    return "\n".join(kept)
