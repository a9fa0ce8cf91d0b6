"""Bytes of a labelled file as text, and the language that the text is in, alike for every detector that is measured."""

from __future__ import annotations

import codecs

from stackwright.sources.languages import language_of

HEAD_CHARACTERS = 4096
"""An interpreter line and the opening of a C header are within these."""


def text_of(data: bytes) -> str:
    """Return bytes as text: UTF-8 without a byte-order mark; what cannot be decoded becomes U+FFFD."""
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


def language_of_text(path: str, text: str) -> str | None:
    """Return the language of a file by its path and the beginning of its text; None when it is not known."""
    return language_of(path, text[:HEAD_CHARACTERS].encode("utf-8"))
