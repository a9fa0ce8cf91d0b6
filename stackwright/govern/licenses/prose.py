"""Prose beside a licence: sentences that introduce it, describe the project or name people, and state no terms.

In: the sentences of a text, each as the words of it that nothing explained. Out: which of them are harmless. What counts
is what a sentence could do: it is prose only when it is written in English, speaks neither of the reader nor of what may,
must or must not be done, and names no licence. A sentence in another language, or with one word of obligation, stays a
remainder (`words.toml` has the words).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from stackwright.govern.licenses.words import word_tables

MOST_PROSE_WORDS = 250
"""Of one file. Who writes more beside a licence may have hidden terms in it, and a reader should look."""

_SENTENCE_BREAK = re.compile(
    r"[.!?;](?=[\s\"')*_`]|$)|\n[^\w\n]*(?=\n)|\n(?=[ \t]*(?:[*•#-]|\(?\w{1,2}[.)])[ \t])|:[ \t]*(?=\n)"
)
_LEAST_COMMON, _SHORT = 0.2, 3
"""A sentence of more than three words has, one in five, words that every English sentence has."""

_OPENS = 14
_DISCLAIMS = re.compile(
    r"(?:the|this|these) \w+ (?:is|are) (?:provided|distributed|made available) (?:\w+ ){0,8}?as is\b"
    r"|in no event (?:shall|will)\b|(?:there is )?no warrant|without (?:any )?warrant"
)

GAP = ""
"""Stands among the words of a sentence for those that are explained."""

# "… under the Foo", "a Foo License", "Foo licensed": a licence that nobody recognised.
_NAMING = frozenset(["license", "licence", "licenses", "licences", "licensed", "licenced", "agreement", "terms", "eula"])
_NAMES_NONE = frozenset(
    ["open", "source", "software", "code", "project", "original", "full", "copyright", "general", "free", "dual"]
)
_STATES = frozenset(["licensed", "licenced", "released", "distributed", "published", "available", "is", "are", "also", GAP])
_LICENSED_TO = frozenset(["to", "by", "from"])


def sentence_starts(text: str) -> list[int]:
    """Return where the sentences of a text begin, in characters. List items, headings and paragraphs are sentences."""
    return [0, *(match.end() for match in _SENTENCE_BREAK.finditer(text))]


def is_prose(words: Sequence[str], said: Sequence[str]) -> bool:
    """Whether a sentence states no terms.

    Args:
        words: its unexplained words in lower case and in order, with `GAP` where others stand between.
        said: the sentence outside of whole licence texts, without names, titles and paths.
    """
    tables = word_tables()
    if binds(words) or not (tables.legal - tables.describing).isdisjoint(words) or _names_license(words):
        return False
    return len(said) <= _SHORT or sum(word in tables.common for word in said) >= _LEAST_COMMON * len(said)


def is_disclaimer(said: Sequence[str]) -> bool:
    """Whether a sentence, outside of whole licence texts, does nothing but disclaim a warranty or a liability."""
    return _DISCLAIMS.match(" ".join(said[:_OPENS])) is not None and only_disclaims(said)


def only_disclaims(words: Iterable[str]) -> bool:
    """Whether all words are those of which disclaimers consist."""
    tables = word_tables()
    return all(word in tables.disclaimer or word in tables.disclaiming or word in tables.thing for word in words)


def binds(words: Iterable[str]) -> bool:
    """Whether one of the words takes away, or tells a reader what to do, or speaks of the reader."""
    tables = word_tables()
    return any(word in tables.weighty or word in tables.binding for word in words)


def _names_license(words: Sequence[str]) -> bool:
    """Whether a name stands where the name of a licence would, or somebody to whom alone something is licensed."""
    if "contact" in words and not _NAMING.isdisjoint(words):
        return True
    for index, word in enumerate(words):
        after = words[index + 1] if index + 1 < len(words) else GAP
        if word in _NAMING:
            before = index - 1
            while before >= 0 and words[before] in _NAMES_NONE:
                before -= 1
            if before >= 0 and _is_name(words[before]):
                return True
            if word.endswith("ed") and after in _LICENSED_TO:
                return True
            if after == "of" and _is_name(_after_articles(words[index + 2 :])):
                return True
        states = word == "under" and (words[index - 1] if index else GAP) in _STATES
        if states and _after_articles(words[index + 1 :]) not in _NAMING | {GAP}:
            return True
    return False


def _is_name(word: str) -> bool:
    return word != GAP and word not in word_tables().common


def _after_articles(words: Sequence[str]) -> str:
    return next((word for word in words if word not in ("the", "a", "an", "this", "its")), GAP)
