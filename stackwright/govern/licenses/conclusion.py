"""What the reading of one text amounts to: its licences, and whether it says anything beside them.

In: a `Reading` whose texts and references are found. Out: a `Recognition`. Words that nothing explains make a permissive
text unknown; a sentence of them that states terms joins the expression as LicenseRef-unknown; where most of a text is such
words, it is a licence of its own, whatever licences it names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from stackwright.govern.licenses import prose, references, remainder
from stackwright.govern.licenses.combine import expression_of, ids
from stackwright.govern.licenses.expressions import evaluate
from stackwright.govern.licenses.reading import Reading
from stackwright.govern.licenses.recognize import NOTHING, Recognition

FEW_WORDS, FEWER_WORDS = 3, 2
"""Unexplained words that a text may hold, a stray name or a heading; fewer where one of them is a word of licences."""

_LEAST_LEGAL = 0.04
"""Share of legal words from which on a text that names no licence may be one."""

_BUNDLE = 3
"""Whole texts that make a licence of somebody's own the first of a bundle, in which those of others follow."""

_OWN_LICENSE, _MOST_OF_IT, _OWN_LEGAL, _OPENING = 250, 0.5, 0.07, 40
"""Unexplained words, and their share, from which on a text is a licence that nobody knows, whatever it names.

Of these words some must be legal ones, and no licence may be named among the first of the text.
"""


def conclude(reading: Reading) -> Recognition:
    """Return what all of it amounts to, with the words that nothing explains."""
    left = _left_over(reading)
    legal = remainder.count_legal(reading.words[index] for index in left)
    few = FEW_WORDS if not legal else FEWER_WORDS
    weighs = reading.cut or len(left) > few or prose.binds(reading.words[index] for index in left)
    reserved = None if reading.matches or legal else remainder.lone_reservation(reading.text)
    if reserved is not None:
        reading.add(references.PROPRIETARY, "reference", *reserved)
    _set_aside_names(reading, left)
    if reading.matches:
        terms = _states_terms(reading, left)
    else:
        stating = remainder.count_stating(reading.words[index] for index in left)
        terms = len(left) > FEW_WORDS and stating > max(1, _LEAST_LEGAL * len(left))
    if weighs and (reading.matches or terms):
        reading.notes.append(f"{len(left)} words that nothing explains")
    return _recognition(reading, left, unknown=weighs and terms, doubtful=weighs)


def _recognition(reading: Reading, left: list[int], *, unknown: bool, doubtful: bool) -> Recognition:
    """Return what the matches say; `unknown` adds terms that nobody knows, `doubtful` only withholds the verdict."""
    expression = expression_of(reading.matches, reading.offered, unknown=unknown)
    license_class = evaluate(expression)[0] if expression else "none"
    if license_class == "permissive" and (doubtful or reading.inserted):
        license_class = "unknown"
    kinds = dict.fromkeys(f"{match.kind} of {match.expression}" for match in reading.matches if match.kind != "changed")
    why = "; ".join([", ".join(kinds) or "no known text", *reading.notes]) if expression else NOTHING.why
    stated = expression_of(reading.matches, reading.offered, unknown=False)
    return Recognition(
        tuple(reading.matches), expression, license_class, stated, len(left), tuple(_spans(reading, left)), why
    )


def _set_aside_names(reading: Reading, left: list[int]) -> None:
    """Leave out the licences that a text names which is one of its own: it speaks of those of others.

    Its own is a text that begins with many words that nobody knows; licences that follow whole are those of what it
    comes with.
    """
    first = min((match.start for match in reading.matches if match.kind == "text"), default=len(reading.text))
    num_words = reading.found.words_between(0, first)[1]
    left = [index for index in left if index < num_words]
    legal = remainder.count_legal(reading.words[index] for index in left)
    if len(left) < max(_OWN_LICENSE, _MOST_OF_IT * num_words) or legal < _OWN_LEGAL * len(left):
        return
    opening = reading.found.spans[min(len(reading.words), _OPENING) - 1][1]
    named = (
        match for match in reading.matches if match.kind == "reference" and not references.is_own_terms(match.expression)
    )
    if any(match.start < opening for match in named):
        return  # it begins by naming what it is under
    texts = [match for match in reading.matches if match.kind == "text"]
    kept = () if len(texts) >= _BUNDLE else texts
    own = [m for m in reading.matches if m.kind == "changed" or references.is_own_terms(m.expression) or m in kept]
    if len(own) < len(reading.matches):
        reading.notes.append("a licence of its own, which names others")
    reading.matches = own


def _states_terms(reading: Reading, left: list[int]) -> bool:
    """Whether one of the sentences that nothing explains states terms."""
    if not left:
        return False
    starts = prose.sentence_starts(reading.text)
    sentences: dict[int, list[str]] = {}
    for index in left:
        sentences.setdefault(bisect_right(starts, reading.found.spans[index][0]), []).append(reading.words[index])
    return any(remainder.states_terms(words) for words in sentences.values())


def conclude_header(reading: Reading) -> Recognition:
    """Return what the recognised parts say, and whether a line beside them states terms."""
    terms = _lines_with_terms(reading)
    if terms:
        reading.match_plain()
        terms = _lines_with_terms(reading)
    if terms:
        reading.notes.append(f"terms that nothing explains in {len(terms)} lines")
    found = _recognition(reading, [index for line in terms for index in line], unknown=bool(terms), doubtful=False)
    return NOTHING if found.expression is None else found


def _lines_with_terms(reading: Reading) -> list[list[int]]:
    left = np.flatnonzero(~reading.explained).tolist()
    return [line for line in _by_line(reading, left) if remainder.states_terms([reading.words[index] for index in line])]


def _left_over(reading: Reading) -> list[int]:
    """Return the words that nothing explains, without those of harmless lines."""
    titles = _title_words(reading)
    kept = []
    unexplained = np.flatnonzero(~reading.explained).tolist()
    for indexes in _by_line(reading, unexplained):
        line = reading.line_of(reading.found.spans[indexes[0]][0])
        first, last = reading.line_starts[line - 1], reading.line_starts[line] if line < len(reading.line_starts) else None
        if not remainder.is_harmless(reading.text[first:last], [reading.as_written(index) for index in indexes], titles):
            kept += indexes
    return _without_prose(reading, kept, unexplained)


def _without_prose(reading: Reading, left: list[int], unexplained: list[int]) -> list[int]:
    """Leave out the sentences that state no terms. They may stand beside a licence; alone they are not told from one."""
    if not reading.matches or not left:
        return left
    starts = prose.sentence_starts(reading.text)
    sentences: dict[int, list[int]] = {}
    for index in unexplained:
        sentences.setdefault(bisect_right(starts, reading.found.spans[index][0]), []).append(index)
    remaining, known = set(left), set(unexplained).difference(left)
    said: dict[int, list[str]] = {number: [] for number in sentences}
    for index in np.flatnonzero(~reading.in_text).tolist():
        number = bisect_right(starts, reading.found.spans[index][0])
        if number in said and index not in known:
            said[number].append(reading.words[index])
    for number, indexes in sentences.items():
        words = [reading.words[indexes[0]]]
        for index, after in pairwise(indexes):
            words += [reading.words[after]] if after == index + 1 else [prose.GAP, reading.words[after]]
        if prose.is_prose(words, said[number]) or prose.is_disclaimer(said[number]):
            remaining.difference_update(indexes)
    return sorted(remaining) if len(left) - len(remaining) <= prose.MOST_PROSE_WORDS else left


def _by_line(reading: Reading, indexes: Iterable[int]) -> list[list[int]]:
    lines: dict[int, list[int]] = {}
    for index in indexes:
        lines.setdefault(reading.line_of(reading.found.spans[index][0]), []).append(index)
    return list(lines.values())


def _title_words(reading: Reading) -> frozenset[str]:
    """Return which words of the file belong to the names of the licences that were found."""
    named = {name for match in reading.matches if match.kind != "changed" for name in ids(match.expression)}
    numbers = frozenset[int]().union(*(reading.prints.titles.get(name, ()) for name in named))
    return frozenset(word for word in set(reading.words) if reading.prints.numbers[word] in numbers)


def _spans(reading: Reading, left: list[int]) -> Iterable[tuple[int, int]]:
    """Return runs of left-over words as characters."""
    runs: list[list[int]] = []
    for index in sorted(left):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ((reading.found.spans[first][0], reading.found.spans[last][1]) for first, last in runs)
