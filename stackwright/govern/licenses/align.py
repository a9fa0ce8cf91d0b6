"""Compare a text with the texts of the list, word by word.

In: the numbers of a text's words and the fingerprints. Out: `Occurrence`s, best first: which text of the list stands where,
which of its words are missing, and which words stand between that it does not have. Runs of words that both have are found
through the index, joined outwards from the longest while the gaps stay small, and the gaps are compared word by word.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

from stackwright.govern.licenses.fingerprints import GRAM, Fingerprints, Hits, Int32, Int64, Template

_LEAST_SHARE = 0.5
"""Of a text's required words that must be here for it to be looked at."""

_MOST_CANDIDATES = 6
_WORDS_PER_CANDIDATE = 400
"""A long file may hold many texts: one more is looked at for each of these words."""

_SHORTEST = 20
"""Words beside a whole text that may hold another one; the shortest licences have about as many."""

_MOST_BLOCKS = 200
_GAP_COST = 0.25
_MOST_GAP_CELLS = 10_000


@dataclass(frozen=True)
class Occurrence:
    """One text of the list in a text: words from `start` to `end`. Places are those of the numbers that were given."""

    template: Template
    start: int
    end: int
    matched: int
    missing: tuple[tuple[int, int], ...]  # ranges of the template's words, the optional ones left out
    extra: tuple[tuple[int, int], ...]  # ranges of words here

    @property
    def num_missing(self) -> int:
        return sum(end - start for start, end in self.missing)

    @property
    def num_extra(self) -> int:
        return sum(end - start for start, end in self.extra)

    @property
    def coverage(self) -> float:
        """The share of the text's required words that are here."""
        return 1.0 - self.num_missing / max(1, self.template.required)

    def overlaps(self, other: Occurrence) -> bool:
        return self.start < other.end and other.start < self.end

    @property
    def score(self) -> int:
        return self.matched - 2 * self.num_missing - self.num_extra


@dataclass(frozen=True)
class _Block:
    """A run of words that a text and a text of the list share."""

    here: int
    there: int
    size: int


def find_occurrences(words: Int32, prints: Fingerprints) -> list[Occurrence]:
    """Return where texts of the list stand, best first. They may overlap: choosing among them is the caller's."""
    exact = prints.exact.get(words.tobytes())
    if exact is not None:
        return [Occurrence(prints.templates[exact], 0, len(words), len(words), (), ())]
    hits = prints.find(words)
    if len(hits.here) == 0:
        return []
    found: list[Occurrence] = []
    order = np.argsort(hits.template.astype(np.int16), kind="stable")
    ends = np.cumsum(np.bincount(hits.template, minlength=len(prints.templates)))
    whole = np.zeros(len(words), dtype=np.int64)  # of each word the size of the text that stands there word for word
    for number in _candidates(hits, len(words), prints):
        template = prints.templates[number]
        chosen = order[ends[number - 1] if number else 0 : ends[number]]
        # Where a longer text stands word for word, a shorter one that shares its sentences is no better.
        if np.count_nonzero(whole[hits.here[chosen]] < template.size) + GRAM < _LEAST_SHARE * template.required:
            continue
        blocks = _blocks(hits.here[chosen], hits.there[chosen] - template.start)
        before = len(found)
        found += _occurrences(blocks, words, template, prints.words_of(template))
        exact_ones = [item for item in found[before:] if item.num_missing + item.num_extra == 0]
        for item in exact_ones:
            whole[item.start : item.end] = item.matched
        if any(len(words) - item.matched < _SHORTEST for item in exact_ones):
            break  # the text is this one, and the rest is too short to be another
    return sorted(found, key=lambda item: (-item.score, item.template.license_id, item.start))


def _candidates(hits: Hits, num_words: int, prints: Fingerprints) -> list[int]:
    """Return the texts most of which may be here, those that fit best first."""
    seen = np.zeros(len(prints.row), dtype=bool)
    seen[hits.there] = True
    counts = np.bincount(prints.owner[np.flatnonzero(seen)], minlength=len(prints.templates))
    required = prints.required
    # A word that differs breaks up to four runs: the count of runs is a lower bound of the words that are here.
    likely = np.flatnonzero((counts > 0) & (counts + GRAM - 1 >= _LEAST_SHARE * required))
    # Either the text of which most is here, or a short one of which all is here, however long the others are.
    fit = 2 * counts[likely] - required[likely]
    share = counts[likely] / required[likely]
    most = _MOST_CANDIDATES + num_words // _WORDS_PER_CANDIDATE
    best = likely[np.argsort(-fit, kind="stable")][:most]
    whole = likely[np.argsort(-share, kind="stable")][:most]
    return [int(number) for number in dict.fromkeys([*best.tolist(), *whole.tolist()])]


def _blocks(here: Int64, there: Int64) -> list[_Block]:
    """Join runs of four that follow one another on both sides; the longest first."""
    diagonal = here - there
    order = np.lexsort((here, diagonal))
    here, there, diagonal = here[order], there[order], diagonal[order]
    breaks = np.flatnonzero((np.diff(diagonal) != 0) | (np.diff(here) != 1)) + 1
    first = np.concatenate(([0], breaks))
    size = np.diff(np.append(first, len(here))) + GRAM - 1
    longest = np.argsort(-size, kind="stable")[:_MOST_BLOCKS]
    return [_Block(int(here[first[k]]), int(there[first[k]]), int(size[k])) for k in longest]


def _occurrences(blocks: list[_Block], words: Int32, template: Template, there: Int32) -> list[Occurrence]:
    """Return each place where the text stands: a chain of blocks around the longest that no chain has taken."""
    found = []
    while blocks:
        chain = _chain(blocks)
        if sum(block.size for block in chain) < _LEAST_SHARE * template.required:
            break
        found.append(_occurrence(chain, words, template, there))
        start, end = found[-1].start, found[-1].end
        blocks = [block for block in blocks if block.here >= end or block.here + block.size <= start]
    return found


def _chain(blocks: list[_Block]) -> list[_Block]:
    """Join blocks to the left and to the right of the longest, each time the one that adds most for the gap it costs."""
    chain = [blocks[0]]
    while (after := _following(chain[-1], blocks)) is not None:
        chain.append(after)
    while (before := _preceding(chain[0], blocks)) is not None:
        chain.insert(0, before)
    return chain


def _following(last: _Block, blocks: list[_Block]) -> _Block | None:
    here, there = last.here + last.size, last.there + last.size
    best, most = None, 0.0
    for block in blocks:
        if block.size <= most:
            break  # they are sorted, and none gains more than its size
        cut = max(0, here - block.here, there - block.there)
        size = block.size - cut
        if size <= 0 or block.here <= last.here:
            continue
        gain = size - _GAP_COST * (block.here + cut - here + block.there + cut - there)
        if gain > most:
            best, most = _Block(block.here + cut, block.there + cut, size), gain
    return best


def _preceding(first: _Block, blocks: list[_Block]) -> _Block | None:
    best, most = None, 0.0
    for block in blocks:
        if block.size <= most:
            break
        size = min(block.size, first.here - block.here, first.there - block.there)
        if size <= 0:
            continue
        gain = size - _GAP_COST * (first.here - block.here - size + first.there - block.there - size)
        if gain > most:
            best, most = _Block(block.here, block.there, size), gain
    return best


def _occurrence(chain: list[_Block], words: Int32, template: Template, there: Int32) -> Occurrence:
    """Compare the gaps of a chain, and what is left of the text before and after it."""
    # Single words of a title or an appendix prove nothing: beside the chain only what must be there is looked for.
    body = next((end for start, end in template.optional if start == 0), 0)
    last = next((start for start, end in template.optional if start > 0 and end == len(there)), len(there))
    here, place = chain[0].here, chain[0].there
    pairs = _common(words, max(0, here - (place - body) - GRAM), here, there, body, place)
    for block, after in zip(chain, [*chain[1:], None]):
        pairs.append(block)
        here, place = block.here + block.size, block.there + block.size
        if after is None:
            pairs += _common(words, here, min(len(words), here + last - place + GRAM), there, place, last)
        else:
            pairs += _common(words, here, after.here, there, place, after.there)
    pairs = _without_loose_title(pairs, body)
    seen = np.zeros(len(there), dtype=bool)
    for first, end in template.optional:
        seen[first:end] = True
    for pair in pairs:
        seen[pair.there : pair.there + pair.size] = True
    extra = [(a.here + a.size, b.here) for a, b in pairwise(pairs) if a.here + a.size < b.here]
    matched, end = sum(pair.size for pair in pairs), pairs[-1].here + pairs[-1].size
    return Occurrence(template, pairs[0].here, end, matched, _ranges(~seen), tuple(extra))


def _without_loose_title(pairs: list[_Block], title: int) -> list[_Block]:
    """Leave a title out when something stands between it and the terms, as the copyright lines of many holders do."""
    for left, right in pairwise(pairs):
        if left.there + left.size <= title and left.here + left.size < right.here:
            pairs = pairs[pairs.index(right) :]
    return pairs


def _common(words: Int32, start: int, end: int, there: Int32, first: int, last: int) -> list[_Block]:
    """Return the words that two gaps share, in order."""
    if start >= end or first >= last or (end - start) * (last - first) > _MOST_GAP_CELLS:
        return []
    matcher = SequenceMatcher(None, words[start:end].tolist(), there[first:last].tolist(), autojunk=False)
    return [_Block(start + here, first + place, size) for here, place, size in matcher.get_matching_blocks() if size]


def _ranges(mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[tuple[int, int], ...]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return tuple((int(start), int(end)) for start, end in zip(edges[::2], edges[1::2]))
