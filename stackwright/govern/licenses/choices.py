"""Which of the licences that a text names it offers: one may be chosen, as against all of them holding.

In: the matches of a text and its words. Out: the expressions that are offered. A choice is made by words that offer one
("dual licensed", "at your option") around a row of names, or by "or" between two names and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from stackwright.govern.licenses.classes import UNKNOWN
from stackwright.govern.licenses.recognize import Match
from stackwright.govern.licenses.references import RESTRICTIONS
from stackwright.govern.licenses.words import TextWords

_NEAR = 30
"""Words between a licence's name and the words that offer a choice, for the name to be one of those offered."""

_JOINS = frozenset(["or", "and"])
# Between two names: each is for something else.
_PARTS = frozenset(
    [
        *("except", "but", "not", "while", "whereas", "for", "code", "assets", "images", "icons", "fonts", "art", "docs"),
        *(
            "documentation",
            "data",
            "datasets",
            "content",
            "text",
            "texts",
            "models",
            "weights",
            "commercial",
            "noncommercial",
        ),
    ]
)
_MOST_BETWEEN = 14
_ROUND = 8
# Words around those that offer a choice, which say that a list of the licences follows.
_ANNOUNCES = re.compile(
    r"\b(?:of|from|between|under|by|with) (?:the |these |those )?(?:following|two|three|four|2|3|4)\b|\bthe following\b"
    r"|\b(?:two|three|four|2|3|4) (?:\w+ )?licen[sc]es\b"
    r"|\b(?:any|one|either|each|both) of (?:these|those|the (?:\w+ )?licen[sc]es)\b"
    r"|\b(?:dual|tri|multi)(?:ly|ple)? licen"
)
# Restrictions and terms that have no name are never on offer.
_OWN_TERMS = frozenset([UNKNOWN, *RESTRICTIONS])
_SENTENCE_END = re.compile(r"[.!?;](?:\s|$)|\n[^\w\n]*\n")

# Between two names, with nothing that says that each is for another part of the work.
_OR = re.compile(
    r"(?:(?:licen[sc]es?|version|v|only|or later|later|above|spdx short identifier|short identifier) )*"
    r"(?:and )?or(?: (?:alternatively|under|either|the|a|an|terms|of|conditions|at your option|your choice))*"
)


# A choice that is offered for a part of the work says nothing of the rest.
_FOR_A_PART = frozenset(["some", "modifications", "parts", "portions", "files", "directories", "modules", "sections"])


def offered_licenses(matches: Sequence[Match], found: TextWords, choices: Sequence[tuple[int, int]]) -> frozenset[str]:
    """Return the licences of which the file offers one: those named around the words that offer a choice.

    Only these: a file may hold many texts, and offer a choice between two of them.

    Args:
        choices: ranges of the words that offer a choice.
    """
    offered: set[str] = set()
    texts = [match.expression for match in matches if match.kind in ("text", "changed")]
    names = [match for match in matches if match.kind in ("reference", "tag") and match.expression not in _OWN_TERMS]
    for first, last in choices:
        if not _FOR_A_PART.isdisjoint(_sentence_before(first, found)):
            continue
        named = _named_together([match for match in names if _is_near(match, found, first, last)], found)
        if _ANNOUNCES.search(" ".join(found.words[max(0, first - _ROUND) : last + _ROUND])):
            named |= _listed(names, found, last)
        if len(named) == 1 and len(texts) == 1:
            named.add(texts[0])  # "alternatively, this may be distributed under …", after a text
        elif len(named) < 2 and len(texts) == 2:
            named.update(texts)
        if len(named) > 1:
            offered |= named
    for (_, first), (last, _) in pairwise(choices):
        # "under either of", a list, "at your option"
        listed = {match.expression for match in names if first <= found.words_between(match.start, match.end)[0] < last}
        if found.words[first - 1] == "either" and found.words[last] == "at" and len(listed) > 1:
            offered |= listed
    return frozenset((offered | _joined_by_or(matches, found)) - {UNKNOWN})


def _listed(names: Sequence[Match], found: TextWords, last: int) -> set[str]:
    """Return the licences that a list names after the words that announce it, which end before the word `last`."""
    listed: set[str] = set()
    for match in sorted(names, key=lambda match: match.start):
        begins, ends = found.words_between(match.start, match.end)
        if begins < last:
            continue
        between = found.words[last:begins]
        if len(between) > _MOST_BETWEEN or not _PARTS.isdisjoint(between):
            break
        listed.add(match.expression)
        last = max(last, ends)
    return listed


def _named_together(matches: list[Match], found: TextWords) -> set[str]:
    """Return the licences that stand in one row of names, joined by `or` or `and`."""
    matches = sorted(matches, key=lambda match: match.start)
    rows: list[set[str]] = [{match.expression for match in matches[:1]}]
    for match, after in pairwise(matches):
        between = found.words[slice(*found.words_between(match.end, after.start))]
        if match.end > after.start or not between or (not _JOINS.isdisjoint(between) and _PARTS.isdisjoint(between)):
            rows[-1].add(after.expression)
        else:
            rows.append({after.expression})
    return max(rows, key=len)


def _joined_by_or(matches: Sequence[Match], found: TextWords) -> set[str]:
    """Return the licences between whose names stands "or" and nothing else that counts.

    Only where the file opens with them: below, such a sentence may speak of a part of the work.
    """
    joined: set[str] = set()
    ordered = sorted(matches, key=lambda match: (match.start, match.end))
    for match, after in pairwise(ordered):
        first, last = found.words_between(match.end, after.start)
        if match.expression == after.expression:
            continue
        words = (word for word in found.words[first:last] if not word.isdigit())
        if last - first > _MOST_BETWEEN or _OR.fullmatch(" ".join(words)) is None:
            break
        joined |= {match.expression, after.expression}
    return joined


def _sentence_before(first: int, found: TextWords) -> list[str]:
    """Return the words of the sentence up to the word `first`."""
    begin = first
    while begin > max(0, first - _NEAR):
        if _SENTENCE_END.search(found.low[found.spans[begin - 1][1] : found.spans[begin][0]]):
            break
        begin -= 1
    return found.words[begin:first]


def _is_near(match: Match, found: TextWords, first: int, last: int) -> bool:
    begins, ends = found.words_between(match.start, match.end)
    return begins - last <= _NEAR and first - ends <= _NEAR
