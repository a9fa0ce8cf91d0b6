"""What is left of a licence file when its texts and references are found: words that add nothing, and words that may.

In: a line of the file and those of its words that nothing explained. Out: whether the line is a title, a name, an
attribution or the like. A line with a word that could change the terms (`weighty`, in `words.toml`) is never harmless.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from stackwright.govern.licenses.words import RESERVED, word_tables

_ATTRIBUTION = re.compile(
    r"\W*(?:by|authors?|maintainers?|maintained by|contributors?|contributions?(?: by| from)?|written by|author\(s\)"
    r"|thanks|special thanks|credits?|developed (?:by|at)|created by|original(?:ly)?(?: \w+)? (?:by|author)"
    r"|original author|project|package|name|version|files?|path|directory|source|home ?page|url|web ?site|website"
    r"|repository|origin|upstream(?:-name)?|date|last updated|updated|download|contact|e-?mail|maintainer"
    r"|copyright holders?|holder|format|comment|based on|derived from|adapted from|ported (?:from|by)|forked from|fork of"
    r"|modified by|modifications by|translated by|inspired by|all (?:other )?(?:contributions|modifications)"
    r"|portions of|parts of|some parts|includes?|contains|component|library|module|software|description|availability"
    r"|used in)\b[ \t]*:?",
    re.IGNORECASE,
)
_MADE_BY = re.compile(
    r"\b(?:created|written|made|developed|authored|designed|drawn|maintained|ported) by\b"
    r"|\b(?:is|are|was|were) (?:originally |directly |partly )?(?:based|derived|adapted|ported|taken|copied|borrowed)"
    r" (?:on|from|upon)\b",
    re.IGNORECASE,
)
_PATH = re.compile(r"/?[^\s/]+(?:/[^\s/]*)+|[\w*-]+\.\w{1,4}|and|or|is|are|see|See|in")
_MOST_ATTRIBUTION_WORDS = 12
_NOTICE = re.compile(r"\bcopyright\b|\(c\)|©")
_COPYRIGHT = re.compile(r"\b(?:copyright|Copyright|COPYRIGHT)\b[\s\W]*(?:\d{4}|[A-Z(©]|by\b)|\(c\)|©")
_SPELLED_ADDRESS = re.compile(r"<[^<>\n]{1,40} (?:at|AT) [^<>\n]{1,60}>")
# A word of terms that belongs to the name of somebody: "… Research Foundation".
_ORGANISATION = re.compile(
    r"\b[A-Z]\w+ (?:Foundation|Institute|Cent(?:er|re)|Laborator(?:y|ies)|Labs|Group|Council|Corporation|Initiatives)\b"
)
_RESERVED = frozenset(["all", "rights", "reserved"])
_UNRESTRICTED = re.compile(r"\b(?:no|without|few)(?: \w+)? restrictions?\b")
_OF_LISTS = frozenset(["written", "modified", "distribution", "software", "copyrighted"])
_HOLDERS = frozenset(["company", "companies", "members", "individuals", "people", "developers", "owners"])
_MOST_NAME_WORDS, _SHORT, _SHORT_TITLE = 12, 4, 8
_LETTERS = re.compile(r"[^\W\d_]+")


def is_harmless(line: str, left: Collection[str], titles: Collection[str]) -> bool:
    """Whether a line adds nothing to the terms.

    Args:
        line: the line as it stands in the file.
        left: those of its words that nothing explained, as they stand.
        titles: words of the names of the licences that were recognised.
    """
    named = {word for match in _ORGANISATION.finditer(line) for word in match[0].split()}
    tables, words = word_tables(), {word.lower() for word in left if word not in named}
    if tables.title.union(titles).issuperset(words) or _RESERVED.issuperset(words):
        return True
    if not tables.weighty.isdisjoint(words) or not tables.legal.isdisjoint(words):
        return False
    if all(_PATH.fullmatch(item.strip("`'\"();:*")) for item in line.replace(",", " ").split() if _LETTERS.search(item)):
        return True
    if not tables.binding.isdisjoint(words - _HOLDERS):
        return False
    if len(left) <= _SHORT_TITLE and not words.isdisjoint(tables.thing) and not tables.about_licenses - tables.thing & words:
        return True  # what the thing is: "foo, a library for bar"
    attributes = any(pattern.search(line) for pattern in (_MADE_BY, _COPYRIGHT, _SPELLED_ADDRESS)) or _ATTRIBUTION.match(
        line
    )
    if attributes and len(left) <= _MOST_ATTRIBUTION_WORDS:
        return True
    return len(left) <= _MOST_NAME_WORDS and all(word[0].isupper() or len(word) <= _SHORT for word in left)


def lone_reservation(text: str) -> tuple[int, int] | None:
    """Return where a text reserves all rights by itself; in a copyright line, or under one, the words say nothing."""
    previous, start = "", 0
    for line in text.lower().splitlines(keepends=True):
        found = RESERVED.search(line)
        if found is not None and _NOTICE.search(previous + line) is None:
            return start + found.start(), start + found.end()
        previous, start = line if line.strip() else previous, start + len(line)
    return None


def takes_away(words: Iterable[str]) -> bool:
    """Whether one of the words could take away what a permissive text gives."""
    return not word_tables().weighty.isdisjoint(words)


def count_stating(words: Iterable[str]) -> int:
    """Return how many words are legal ones that a list of files or authors has no use for."""
    return sum(word in word_tables().legal and word not in _OF_LISTS for word in words)


def count_legal(words: Iterable[str]) -> int:
    return sum(word in word_tables().legal for word in words)


def states_terms(words: Sequence[str]) -> bool:
    """Whether a line of prose states terms: it takes something away, and it is about licences or software."""
    words = _UNRESTRICTED.sub(" ", " ".join(words)).split()
    return takes_away(words) and not word_tables().about_licenses.isdisjoint(words) and count_legal(words) > 1
