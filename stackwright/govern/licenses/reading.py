"""Explain the words of one text: by whole licences, then by references, then as harmless; the rest is remainder.

In: a text. Out: its `Recognition`, by the steps that `recognize` calls. A word is explained once: what belongs to a
recognised text is read by nothing else, so that a licence that speaks of another is not taken for it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise

import numpy as np

from stackwright.govern.licenses import prose, references, remainder
from stackwright.govern.licenses.align import Occurrence, find_occurrences
from stackwright.govern.licenses.choices import offered_licenses
from stackwright.govern.licenses.classes import UNKNOWN, class_of
from stackwright.govern.licenses.combine import expression_of, ids
from stackwright.govern.licenses.expressions import evaluate
from stackwright.govern.licenses.fingerprints import LLVM_EXCEPTION, NOT_COMPARED, load_fingerprints
from stackwright.govern.licenses.recognize import NOTHING, Match, Recognition
from stackwright.govern.licenses.references import Reference
from stackwright.govern.licenses.training import forbids_training
from stackwright.govern.licenses.variation import LONGEST_CHANGE, is_same_license
from stackwright.govern.licenses.words import read_words

MOST_WORDS = 60_000
"""A text that is longer is read this far, and the rest counts as remainder."""

FEW_WORDS, FEWER_WORDS = 3, 2
"""Unexplained words that a text may hold, a stray name or a heading; fewer where one of them is a word of licences."""

_LEAST_WORDS = 12
_LEAST_COVERAGE, _LONG_COVERAGE, _CHANGED_COVERAGE = 0.9, 0.8, 0.6
_LONG_TEXT = 1000
_BREAK = re.compile("\n")
_PARAGRAPH = re.compile(r"[.!?][^\w\n]*\n[^\w\n]*\n")
_GNU = re.compile(r"[AL]?GPL-")
_PLUS = re.compile(r"(?:[ ,]*(?:version |v)\d(?:\.\d)?)?\+", re.IGNORECASE)
_OVERLAP = 0.1

_SENTENCE_BREAK = re.compile(r"[.!?:;,(]|\n[^\w\n]*\n")
_INTRODUCES = frozenset(["under", "by", "with", "of", "the", "an", "a", "to", "terms", "conditions", "either"])
_DENIES, _DENIED_WITHIN = frozenset(["not", "never", "isn", "unlike", "neither"]), 5
"""Words that, so close before a licence's name, say that it is not this one."""


class Reading:
    """One text while its words are being explained, in steps: whole texts, references, the remainder."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.prints = load_fingerprints()
        self.found = read_words(text)
        self.words = self.found.words[:MOST_WORDS]
        self.cut = len(self.found.words) > MOST_WORDS
        self.numbers = np.fromiter(map(self.prints.numbers.__getitem__, self.words), dtype=np.int32, count=len(self.words))
        for start, end in (*self.found.named, *self.found.reserved):
            self.numbers[start:end] = NOT_COMPARED
        self.compared = np.flatnonzero(self.numbers != NOT_COMPARED)
        self.in_text = np.zeros(len(self.words), dtype=bool)
        self.explained = self.numbers == NOT_COMPARED
        self.matches: list[Match] = []
        self.notes: list[str] = []
        self.offered: frozenset[str] = frozenset()

    def match_texts(self) -> None:
        """Find the whole texts, best first, each in words that no better one has."""
        if len(self.compared) < _LEAST_WORDS:
            return
        changed: list[Occurrence] = []
        for occurrence in find_occurrences(self.numbers[self.compared], self.prints):
            if not self._is_free(occurrence):
                continue
            if self._is_accepted(occurrence):
                # What is nearest to a licence without being it is no other licence that is less near; only a permissive
                # text has been compared so closely that it is what it is.
                if not _is_permissive(occurrence) and any(occurrence.overlaps(nearer) for nearer in changed):
                    continue
                self._take(occurrence, occurrence.template.license_id, "text")
            elif occurrence.coverage >= _CHANGED_COVERAGE:
                changed.append(occurrence)
        for occurrence in changed:
            if self._is_free(occurrence):
                self._take(occurrence, UNKNOWN, "changed")
                added, missing = occurrence.num_extra, occurrence.num_missing
                self.notes.append(f"{occurrence.template.license_id} with {added} words added and {missing} missing")

    def _is_free(self, occurrence: Occurrence) -> bool:
        return bool(self.in_text[self.compared[occurrence.start : occurrence.end]].mean() <= _OVERLAP)

    def _is_accepted(self, occurrence: Occurrence) -> bool:
        if _is_permissive(occurrence):
            return self._differs_harmlessly(occurrence)
        long = occurrence.template.required >= _LONG_TEXT
        return occurrence.coverage >= (_LONG_COVERAGE if long else _LEAST_COVERAGE)

    def _differs_harmlessly(self, occurrence: Occurrence) -> bool:
        added = [[self.words[index] for index in self.compared[start:end]] for start, end in occurrence.extra]
        return is_same_license(occurrence, added, self.prints)

    def _take(self, occurrence: Occurrence, expression: str, kind: str) -> None:
        first, last = int(self.compared[occurrence.start]), int(self.compared[occurrence.end - 1])
        self.in_text[first : last + 1] = True
        if kind == "changed" or class_of(expression) != "permissive":
            # What was put in between is read on its own: it may be what makes the text another one.
            for start, end in occurrence.extra:
                if end - start <= LONGEST_CHANGE and kind != "changed":
                    continue
                self.in_text[self.compared[start] : self.compared[end - 1] + 1] = False
        self.explained |= self.in_text
        start, end = self.found.spans[first][0], self.found.spans[last][1]
        self._add(expression, kind, start, end, occurrence.coverage, occurrence.num_extra)

    def _add(self, expression: str, kind: str, start: int, end: int, coverage: float = 1.0, extra: int = 0) -> None:
        self.matches.append(Match(expression, kind, start, end, self._line(start), self._line(end), coverage, extra))

    def match_references(self) -> None:
        """Find tags, sentences and addresses that name a licence, outside the texts."""
        self._explain_appendix()
        self._match_tags()
        refusal = forbids_training(self.text)
        if refusal is not None:
            self._match_outside(Reference(references.NO_TRAINING, *refusal), "reference")
        if self.in_text.all():
            return
        row = self._open
        found = references.find_references(row.joined)
        for reference in found:
            first, last = row.word_range(reference.start, reference.end)
            for paragraph in _PARAGRAPH.finditer(self.text, self.found.spans[first][0], self.found.spans[last - 1][0]):
                first = self.found.words_between(paragraph.end(), paragraph.end())[0]  # a name begins in no other paragraph
            self.explained[first:last] = True
            denied = evaluate(reference.expression)[0] == "permissive" and self._is_denied(first)
            expression = UNKNOWN if denied else reference.expression
            if expression.endswith("-only") and _PLUS.match(self.text, self.found.spans[last - 1][1]):
                expression = f"{expression.removesuffix('-only')}-or-later"  # "GPLv3+"
            self._add(expression, "reference", self.found.spans[first][0], self.found.spans[last - 1][1])
        choices = [row.word_range(*place) for place in references.find_choices(row.joined)]
        self.offered = offered_licenses(self.matches, self.found, choices)

    def _explain_appendix(self) -> None:
        """Give a text of the GNU family its instructions on how to apply it: what they say is no notice of this file."""
        if not any(match.kind == "text" and _GNU.match(match.expression) for match in self.matches):
            return
        for start, end in references.find_appendices(self.found.joined):
            first, last = self.found.word_range(start, end)
            self.in_text[first:last] = True
        self.explained |= self.in_text

    def _is_denied(self, first: int) -> bool:
        """Whether the sentence says, just before the word `first`, that it is not so."""
        for index in range(first - 1, max(-1, first - 1 - _DENIED_WITHIN), -1):
            if self.words[index] in _DENIES:
                between = self.text[self.found.spans[index][1] : self.found.spans[first][0]]
                return _SENTENCE_BREAK.search(between) is None
        return False

    @cached_property
    def _open(self) -> _Row:
        """The words that no text has; asked for when the texts and tags are found."""
        return _Row(self.words, self.in_text)

    def match_plain(self) -> None:
        """Find the phrases that say nothing of their own, outside the texts."""
        if self.explained.all():
            return
        row = self._open
        before = self.explained.copy()
        ranges = [row.word_range(start, end) for start, end in references.find_plain(row.joined)]
        for first, last in ranges:
            self.explained[first:last] = True
        for first, last in ranges:
            if self._leads_nowhere(last):
                self.explained[first:last] = before[first:last]

    def _leads_nowhere(self, last: int) -> bool:
        """Whether a phrase that ends at the word `last` introduces what nothing explained: "licensed under Foo"."""
        if last >= len(self.words) or self.explained[last] or self.words[last - 1] not in _INTRODUCES:
            return False
        between = self.text[self.found.spans[last - 1][1] : self.found.spans[last][0]]
        return _SENTENCE_BREAK.search(between) is None

    def _match_tags(self) -> None:
        low = self.text.lower()
        for reference in references.find_tags(low):
            self._match_outside(reference, "tag")
        for reference in references.find_addresses(low):
            self._match_outside(reference, "reference")

    def _match_outside(self, reference: Reference, kind: str) -> None:
        """Add a reference by its characters, unless it stands in a text that was recognised."""
        first, last = self.found.words_between(reference.start, reference.end)
        inside = any(
            match.start <= reference.start < match.end for match in self.matches if match.kind in ("text", "changed")
        )
        if inside:
            return
        self.explained[first:last] = True
        if kind == "tag":
            self.in_text[first:last] = True  # its words are no sentence that could name the licence again
        self._add(reference.expression, kind, reference.start, reference.end)

    def conclude(self) -> Recognition:
        """Return what all of it amounts to, with the words that nothing explains."""
        left = self._left_over()
        legal = remainder.count_legal(self.words[index] for index in left)
        few = FEW_WORDS if not legal else FEWER_WORDS
        weighs = len(left) > few or prose.binds(self.words[index] for index in left)
        reserved = None if self.matches or legal else remainder.lone_reservation(self.text)
        if reserved is not None:
            self._add(references.PROPRIETARY, "reference", *reserved)
        unknown = self.cut or (weighs if self.matches else legal > 1 and len(left) > FEW_WORDS)
        if unknown:
            self.notes.append(f"{len(left)} words that nothing explains")
        expression = self._expression(unknown=unknown)
        why = "; ".join([self._why(), *self.notes]) if expression else NOTHING.why
        license_class = evaluate(expression)[0] if expression else "none"
        stated = self._expression(unknown=False)
        return Recognition(tuple(self.matches), expression, license_class, stated, len(left), tuple(self._spans(left)), why)

    def conclude_header(self) -> Recognition:
        """Return what the recognised parts say, and whether a line beside them states terms."""
        terms = self._lines_with_terms()
        if terms:
            self.match_plain()
            terms = self._lines_with_terms()
        if terms:
            self.notes.append(f"terms that nothing explains in {len(terms)} lines")
        expression = self._expression(unknown=bool(terms))
        if expression is None:
            return NOTHING
        count = sum(map(len, terms))
        spans = tuple(self._spans([index for line in terms for index in line]))
        why = "; ".join([self._why(), *self.notes])
        stated = self._expression(unknown=False)
        return Recognition(tuple(self.matches), expression, evaluate(expression)[0], stated, count, spans, why)

    def _lines_with_terms(self) -> list[list[int]]:
        left = np.flatnonzero(~self.explained).tolist()
        return [line for line in self._by_line(left) if remainder.states_terms([self.words[index] for index in line])]

    def _why(self) -> str:
        kinds = dict.fromkeys(f"{match.kind} of {match.expression}" for match in self.matches if match.kind != "changed")
        return ", ".join(kinds) or "no known text"

    def _left_over(self) -> list[int]:
        """Return the words that nothing explains, without those of harmless lines."""
        titles = self._title_words()
        kept = []
        unexplained = np.flatnonzero(~self.explained).tolist()
        for indexes in self._by_line(unexplained):
            line = self._line(self.found.spans[indexes[0]][0])
            first, last = self._line_starts[line - 1], self._line_starts[line] if line < len(self._line_starts) else None
            if not remainder.is_harmless(self.text[first:last], [self._as_written(index) for index in indexes], titles):
                kept += indexes
        return self._without_prose(kept, unexplained)

    def _without_prose(self, left: list[int], unexplained: list[int]) -> list[int]:
        """Leave out the sentences that state no terms. They may stand beside a licence; alone they are not told from one."""
        if not self.matches or not left:
            return left
        starts = prose.sentence_starts(self.text)
        sentences: dict[int, list[int]] = {}
        for index in unexplained:
            sentences.setdefault(bisect_right(starts, self.found.spans[index][0]), []).append(index)
        remaining, known = set(left), set(unexplained).difference(left)
        said: dict[int, list[str]] = {number: [] for number in sentences}
        for index in np.flatnonzero(~self.in_text).tolist():
            number = bisect_right(starts, self.found.spans[index][0])
            if number in said and index not in known:
                said[number].append(self.words[index])
        for number, indexes in sentences.items():
            words = [self.words[indexes[0]]]
            for index, after in pairwise(indexes):
                words += [self.words[after]] if after == index + 1 else [prose.GAP, self.words[after]]
            if prose.is_prose(words, said[number]):
                remaining.difference_update(indexes)
        return sorted(remaining) if len(left) - len(remaining) <= prose.MOST_PROSE_WORDS else left

    def _as_written(self, index: int) -> str:
        start, end = self.found.spans[index]
        return self.text[start:end]

    def _by_line(self, indexes: Iterable[int]) -> list[list[int]]:
        lines: dict[int, list[int]] = {}
        for index in indexes:
            lines.setdefault(self._line(self.found.spans[index][0]), []).append(index)
        return list(lines.values())

    def _title_words(self) -> frozenset[str]:
        """Return which words of the file belong to the names of the licences that were found."""
        named = {name for match in self.matches if match.kind != "changed" for name in ids(match.expression)}
        numbers = frozenset[int]().union(*(self.prints.titles.get(name, ()) for name in named))
        return frozenset(word for word in set(self.words) if self.prints.numbers[word] in numbers)

    def _expression(self, *, unknown: bool) -> str | None:
        return expression_of(self.matches, self.offered, unknown=unknown)

    def _spans(self, left: list[int]) -> Iterable[tuple[int, int]]:
        """Return runs of left-over words as characters."""
        runs: list[list[int]] = []
        for index in sorted(left):
            if runs and index == runs[-1][1] + 1:
                runs[-1][1] = index
            else:
                runs.append([index, index])
        return ((self.found.spans[first][0], self.found.spans[last][1]) for first, last in runs)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in _BREAK.finditer(self.text))]

    def _line(self, place: int) -> int:
        return bisect_right(self._line_starts, place)


def _is_permissive(occurrence: Occurrence) -> bool:
    """Whether a text gives more than it asks: then a word in it can make all the difference."""
    license_id = occurrence.template.license_id
    return class_of(license_id) == "permissive" or license_id == LLVM_EXCEPTION


class _Row:
    """The words that no text has, joined by one space, with a line break where some are left out."""

    def __init__(self, words: list[str], hidden: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        self._indexes = np.flatnonzero(~hidden).tolist()
        pieces, self._starts, place, expected = [], [], 0, 0
        for index in self._indexes:
            if index != expected:
                pieces.append("\n")
                place += 2
            self._starts.append(place)
            pieces.append(words[index])
            place += len(words[index]) + 1
            expected = index + 1
        self.joined = " ".join(pieces)

    def word_range(self, start: int, end: int) -> tuple[int, int]:
        first = self._indexes[bisect_right(self._starts, start) - 1]
        last = self._indexes[bisect_right(self._starts, end - 1) - 1] + 1
        return first, last
