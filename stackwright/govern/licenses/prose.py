"""Prose beside a licence: sentences that introduce it, describe the project or name people, and state no terms.

In: the sentences of a text, each as the words of it that nothing explained. Out: which of them are harmless. What counts
is what a sentence could do: it is prose only when it is written in English, speaks neither of the reader nor of what may,
must or must not be done, and names no licence. A sentence in another language, or with one word of obligation, stays a
remainder (`words.toml` has the words).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from stackwright.govern.licenses.words import word_tables

MOST_PROSE_WORDS = 250
"""Of one file. Who writes more beside a licence may have hidden terms in it, and a reader should look."""

_SENTENCE_BREAK = re.compile(
    r"[.!?;](?=[\s\"')*_`]|$)|\n[^\w\n]*(?=\n)|\n(?=[ \t]*(?:[*•#-]|\(?\w{1,2}[.)])[ \t])|:[ \t]*(?=\n)"
)
_LEAST_COMMON, _SHORT = 0.2, 3
"""A sentence of more than three words has, one in five, words that every English sentence has."""

# "… under the Foo", "a Foo License", "Foo licensed": a licence that nobody recognised.
_NAMING = frozenset(["license", "licence", "licenses", "licences", "licensed", "licenced", "agreement", "terms", "eula"])
_NAMES_NONE = frozenset(
    ["the", "this", "a", "an", "open", "source", "software", "code", "project", "original", "full", "under"]
)


def sentence_starts(text: str) -> list[int]:
    """Return where the sentences of a text begin, in characters. List items, headings and paragraphs are sentences."""
    return [0, *(match.end() for match in _SENTENCE_BREAK.finditer(text))]


def is_prose(words: Sequence[str], left: Sequence[str]) -> bool:
    """Whether a sentence states no terms.

    Args:
        words: its unexplained words, as written and in order.
        left: those of them, in lower case, that are no name, title or path.
    """
    tables, low = word_tables(), [word.lower() for word in words]
    if not tables.weighty.isdisjoint(low) or not tables.binding.isdisjoint(low):
        return False
    if not (tables.legal - tables.describing).isdisjoint(low) or _names_license(words):
        return False
    return len(left) <= _SHORT or sum(word in tables.common for word in left) >= _LEAST_COMMON * len(left)


def _names_license(words: Sequence[str]) -> bool:
    """Whether a name stands where the name of a licence would."""
    for index, word in enumerate(words):
        low = word.lower()
        before = words[index - 1] if index else ""
        if low in _NAMING and _is_name(before):
            return True
        after = words[index + 1 : index + 3] if low == "under" else []
        if after and _is_name(after[1] if len(after) > 1 and after[0].lower() in ("the", "a", "an") else after[0]):
            return True
    return False


def _is_name(word: str) -> bool:
    return word[:1].isupper() and word.lower() not in _NAMES_NONE
