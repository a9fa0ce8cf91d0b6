"""Explain the words of one text: by whole licences, then by references, then as harmless; the rest is remainder.

In: a text. Out: its `Recognition`, by the steps that `recognize` calls. A word is explained once: what belongs to a
recognised text is read by nothing else, so that a licence that speaks of another is not taken for it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property

import numpy as np

from stackwright.govern.licenses import prose, references, remainder
from stackwright.govern.licenses.align import Occurrence, find_occurrences
from stackwright.govern.licenses.choices import offered_licenses
from stackwright.govern.licenses.classes import UNKNOWN, class_of
from stackwright.govern.licenses.expressions import evaluate
from stackwright.govern.licenses.fingerprints import LLVM_EXCEPTION, NOT_COMPARED, load_fingerprints
from stackwright.govern.licenses.recognize import Match
from stackwright.govern.licenses.references import Reference
from stackwright.govern.licenses.training import forbids_training
from stackwright.govern.licenses.variation import LONGEST_CHANGE, is_same_license
from stackwright.govern.licenses.words import read_words

MOST_WORDS = 60_000
"""A text that is longer is read this far, and the rest counts as remainder."""

_LEAST_WORDS = 12
_LEAST_COVERAGE, _LONG_COVERAGE, _CHANGED_COVERAGE = 0.9, 0.8, 0.6
_LONG_TEXT, _FEW_OF_LONG = 1000, 0.02
_BREAK = re.compile("\n")
_PARAGRAPH = re.compile(r"[.!?][^\w\n]*\n[^\w\n]*\n")
_GNU = re.compile(r"[AL]?GPL-")
_CHANGE_LICENSE = re.compile(r"\bchange licen[sc]e\b|^[^\w\n]*change[ \t]*\Z", re.IGNORECASE)
_PLUS = re.compile(r"(?:[ ,]*(?:version |v)\d(?:\.\d)?)?\+", re.IGNORECASE)
_OVERLAP = 0.1
_INSERTED, _INSERTED_LEGAL = 10, 2

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
        self.inserted = False  # whether words within a permissive text differ in a way that may mean anything

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
            elif occurrence.coverage >= _CHANGED_COVERAGE and not prose.only_disclaims(
                self._words_of((occurrence.start, occurrence.end))
            ):
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
            return self._differs_harmlessly(occurrence) or self._differs_little(occurrence)
        long = occurrence.template.required >= _LONG_TEXT
        return occurrence.coverage >= (_LONG_COVERAGE if long else _LEAST_COVERAGE)

    def _differs_harmlessly(self, occurrence: Occurrence) -> bool:
        added = [self._words_of(run) for run in occurrence.extra if not self._is_inserted(run)]
        return is_same_license(occurrence, added, self.prints)

    def _differs_little(self, occurrence: Occurrence) -> bool:
        """Whether a long text is certainly this licence, although a few of its words are not the same."""
        few = _FEW_OF_LONG * occurrence.template.required
        long = occurrence.template.required >= _LONG_TEXT
        if not long or occurrence.num_missing > few or occurrence.num_extra > few:
            return False
        return not any(remainder.takes_away(self._words_of(run)) for run in occurrence.extra)

    def _words_of(self, run: tuple[int, int]) -> list[str]:
        return [self.words[index] for index in self.compared[slice(*run)]]

    def _is_inserted(self, run: tuple[int, int]) -> bool:
        """Whether words in a permissive text are a remark that somebody put there, as of who paid for the work."""
        indexes = [int(index) for index in self.compared[slice(*run)]]
        words = [self.words[index] for index in indexes if not self.as_written(index).istitle()]  # others are names
        return (
            len(indexes) >= _INSERTED and not remainder.takes_away(words) and remainder.count_legal(words) <= _INSERTED_LEGAL
        )

    def _take(self, occurrence: Occurrence, expression: str, kind: str) -> None:
        first, last = int(self.compared[occurrence.start]), int(self.compared[occurrence.end - 1])
        self.in_text[first : last + 1] = True
        permissive = kind == "text" and _is_permissive(occurrence)
        if permissive:
            self.inserted |= not self._differs_harmlessly(occurrence)
            for run in filter(self._is_inserted, occurrence.extra):
                start, end = run
                self.in_text[self.compared[start] : self.compared[end - 1] + 1] = False
                self.inserted = True
        else:
            # What was put in between is read on its own: it may be what makes the text another one.
            for start, end in occurrence.extra:
                if end - start <= LONGEST_CHANGE and kind != "changed":
                    continue
                self.in_text[self.compared[start] : self.compared[end - 1] + 1] = False
        self.explained |= self.in_text
        start, end = self.found.spans[first][0], self.found.spans[last][1]
        nearest = occurrence.template.license_id if kind == "changed" else ""
        self.add(expression, kind, start, end, occurrence.coverage, occurrence.num_extra, nearest)

    def add(
        self, expression: str, kind: str, start: int, end: int, coverage: float = 1.0, extra: int = 0, nearest: str = ""
    ) -> None:
        match = Match(expression, kind, start, end, self.line_of(start), self.line_of(end), coverage, extra, nearest)
        self.matches.append(match)

    def match_references(self) -> None:
        """Find tags, sentences and addresses that name a licence, outside the texts."""
        if len(self.words) and self.in_text.all():
            return
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
            if self._is_of_the_future(self.found.spans[first][0]):
                continue
            if expression.endswith("-only") and _PLUS.match(self.text, self.found.spans[last - 1][1]):
                expression = f"{expression.removesuffix('-only')}-or-later"  # "GPLv3+"
            self.add(expression, "reference", self.found.spans[first][0], self.found.spans[last - 1][1])
        choices = [row.word_range(*place) for place in references.find_choices(row.joined)]
        self.offered = offered_licenses(self.matches, self.found, choices)

    def _is_of_the_future(self, start: int) -> bool:
        """Whether a name is that of the Change License of the Business Source License, which holds only later."""
        before = self.text[self.line_starts[self.line_of(start) - 1] : start]
        return _CHANGE_LICENSE.search(before) is not None

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
        around = self.in_text[max(0, first - 1) : last + 1]
        if inside or (around.size and around.all()) or self._is_of_the_future(reference.start):
            return
        self.explained[first:last] = True
        if kind == "tag":
            self.in_text[first:last] = True  # its words are no sentence that could name the licence again
        self.add(reference.expression, kind, reference.start, reference.end)

    def as_written(self, index: int) -> str:
        start, end = self.found.spans[index]
        return self.text[start:end]

    @cached_property
    def line_starts(self) -> list[int]:
        return [0, *(match.end() for match in _BREAK.finditer(self.text))]

    def line_of(self, place: int) -> int:
        return bisect_right(self.line_starts, place)


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
