"""Where a file begins to be its own: after an opening comment that states a licence.

Licence comments are the same in thousands of files. A short file consists of one for the most part, so its shingles say
"Apache-licensed" rather than what it does, and files of many languages meet in one cluster. The comment is recognised by
its form (a block of comment lines, or a bracketed comment, with which the file opens) and by its words; any other opening
comment stays.
"""

from __future__ import annotations

import re

MOST_CHARACTERS = 20_000
"""How far is looked. The longest licence in common use, Apache-2.0 whole, has 11,000 characters."""

_WORDS_WITHIN = 600
"""A licence comment says what it is at its beginning; a long docstring that mentions a licence far down is not one."""

_MOST_BLOCKS = 3

# What may stand before it: byte-order mark, blank lines, an interpreter line, an opening tag.
_LEAD = re.compile(r"\ufeff?(?:[ \t\r\n]+|#![^\n]*\n|<\?(?:php|xml)\b[^>\n]*(?:\?>)?|<!DOCTYPE[^>]*>)*", re.IGNORECASE)


def _lines_that_begin_with(marker: str) -> str:
    return rf"(?:[ \t]*{marker}[^\n]*(?:\n[ \t\r]*)*)+"


_BLOCK = re.compile(
    "|".join(
        [
            r"/\*[\s\S]*?\*/",
            r"<!--[\s\S]*?-->",
            r"\(\*[\s\S]*?\*\)",
            r"\{-[\s\S]*?-\}",
            r"<#[\s\S]*?#>",
            r"--\[\[[\s\S]*?\]\]",
            r'[rRuU]?"""[\s\S]*?"""',
            r"[rRuU]?'''[\s\S]*?'''",
            _lines_that_begin_with(r"#(?!\s*(?:include|define|ifn?def|if|pragma|import|error|undef)\b)"),
            _lines_that_begin_with("//"),
            _lines_that_begin_with("--"),
            _lines_that_begin_with(";"),
            _lines_that_begin_with("%"),
            _lines_that_begin_with('"'),
            _lines_that_begin_with(r"(?:@?[rR][eE][mM]\b|::)"),
        ]
    )
)
_WORDS = re.compile(r"copyright|\(c\)\s*\d{4}|©|licen[sc]e|SPDX-|all rights reserved|public domain", re.IGNORECASE)


def end_of_license_comment(text: str) -> int:
    """Return the character at which the text goes on after its opening licence comment; 0 when it has none."""
    head = text[:MOST_CHARACTERS]
    end = 0
    for _ in range(_MOST_BLOCKS):
        begin = _lead_end(head, end)
        block = _BLOCK.match(head, begin)
        if block is None or _WORDS.search(head, begin, min(block.end(), begin + _WORDS_WITHIN)) is None:
            break
        end = block.end()
    return end


def _lead_end(head: str, start: int) -> int:
    lead = _LEAD.match(head, start)
    assert lead is not None
    return lead.end()
