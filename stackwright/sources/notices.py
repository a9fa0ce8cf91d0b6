"""Notices: files whose name says that they speak about the use of others, kept with their text beside the documents.

In: paths and bytes. Out: which files are notices, and their text. Most have no language (`LICENSE`, `.gitattributes`), so
they are no documents; what they mean is read by `govern`. A name is cut at `-`, `_`, `.` and spaces and must hold one of
the words of FACTS A2.2; files about consent have names of their own.
"""

from __future__ import annotations

import re

MAX_NOTICE_BYTES = 1_000_000
"""The longest licence files, collections of the licences of everything in a product, stay below this."""

_LICENSE_WORD = re.compile(
    r"(?:un)?licen[sc](?:es?|ed|ing)|lisence|legal|notices?|copying|copyleft|copyrights?|[al]?gpl(?:v?[123])?|bsd|mit|apache2?"
    r"|artistic|mpl(?:v?[12])?|cpl|eupl|gfdl|cc0|disclaimer|eula|patents"
)
_PROSE_WORD = re.compile(r"about|readme|guidelines?")
# The last word may be a number, a word as above, or one of these: anything else is the suffix of a program.
_TEXT_SUFFIX = re.compile(r"te?xt|md|mkdn?|markdown|rst|x?html?|rtf|adoc|asciidoc|textile|org|in|tex|me|v?\d{1,4}")
_SOURCE_SUFFIX = re.compile(
    r"c|h|cc|cpp|hpp|py[ix]?|[jt]sx?|mjs|cjs|go|rs|java|kt|rb|pl|pm|php|sh|bat|cs|swift|json|xml|ya?ml|toml|css|svg|png|jpe?g|gif|pdf"
)
_OPENS_NAME = re.compile(r"(?:un)?licen[sc]|copying|copyright|notice")
_DELIMITERS = re.compile(r"[-_. ]+")
_LICENSE_FOLDER = re.compile(r"(?:^|/)licen[sc]es?/[^/]+$", re.IGNORECASE)
_CONSENT_FILE = re.compile(r"(?:^|/)(?:\.github/ai-opt-(?:in|out)(?:\.[^/]*)?|\.gitattributes)$", re.IGNORECASE)


def is_notice(path: str) -> bool:
    """Return whether a file's name says that it holds a licence or a statement of consent."""
    return _CONSENT_FILE.search(path) is not None or is_license_name(path)


def is_license_name(path: str) -> bool:
    """Return whether a file's name says that it may hold a licence; `is_prose_name` may hold much else besides."""
    words = _words(path)
    return _is_named(words, _LICENSE_WORD) or _is_named(words, _PROSE_WORD) or _LICENSE_FOLDER.search(path) is not None


def is_prose_name(path: str) -> bool:
    """Return whether a file is a readme or the like, which may hold a section about its licence among much else."""
    words = _words(path)
    return _is_named(words, _PROSE_WORD) and not _is_named(words, _LICENSE_WORD)


def _words(path: str) -> list[str]:
    return [word for word in _DELIMITERS.split(path.rpartition("/")[2].lower()) if word]


def _is_named(words: list[str], wanted: re.Pattern[str]) -> bool:
    named = [wanted.fullmatch(word) is not None for word in words]
    if not any(named):
        return False
    if named[-1] or _TEXT_SUFFIX.fullmatch(words[-1]):
        return True
    # `LICENSE.foo` is the licence of foo, `mit.foo` a file in the language foo.
    return named[0] and _OPENS_NAME.match(words[0]) is not None and _SOURCE_SUFFIX.fullmatch(words[-1]) is None
