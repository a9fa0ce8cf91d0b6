"""Search: the spans of a query that stand in the corpus, each verified in a stored text.

In: a normalised query, look-ups of fingerprints and stored texts. Out: maximal spans with a true origin each. The method:

1. Windows of the query become tokens: runs of neighbouring windows with one fingerprint. A document can share a span only
   where all its windows hit, so runs of tokens that hit bound every span; the longest are tried first.
2. `_sweep` verifies a run from left to right. At a window it goes to every place in the document where the window's k-gram
   stands and extends from there; windows that a span found so covers are passed over. That finds all maximal spans of the
   document: one that is missed would hold the first window that a span which was found no longer covers.
3. A run that lies inside a span found before can only hold spans inside it, and is not tried.

Very repetitive or very long queries have too many maximal spans. After `EXACT_VISITS` the search is thinned: windows that
any span covers are not looked at again (`_sweep_thinly`), so each shared window is still covered by a span that was found,
but of overlapping spans some may be left out. After `MAX_VISITS` it stops, and says so.

A window is `least_span` bytes where k-grams stand for it, and covered when the `least_span` characters from its first byte
on are. In text of one byte a character, which code mostly is, that is the same.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stackwright.attribute.bits import Int64s, Uint64s
from stackwright.attribute.fingerprint import Scheme, WindowRuns, hash_character_spans, hash_spans, window_runs
from stackwright.attribute.intervals import MaximalSpans, Span
from stackwright.attribute.normalize import NormalizedText
from stackwright.attribute.postings import expand

BLOCK_TOKENS = 2048
"""Tokens looked up at a time: with 256 documents each at most, this bounds memory."""

EXACT_VISITS = 10_000
MAX_VISITS = 1_000_000
"""Places in stored texts that one query may cost before it is thinned, and before it is stopped."""

THIN_WINDOWS = 1 << 16
"""Windows at a time in a thinned search, which bounds its memory."""

MAX_OCCURRENCES = 64
"""Places of one k-gram in one document that are all tried; from there on, the first that holds the whole window."""


class Postings(Protocol):
    """What the search needs of an index."""

    scheme: Scheme

    def is_common(self, hashes: Uint64s) -> npt.NDArray[np.bool_]:
        """Return which hashes of k-grams are those of common ones."""

    def look_up(self, hashes: Uint64s) -> tuple[Int64s, Int64s]:
        """Return places in `hashes` and documents that may hold them, sorted by place; every one that does is there."""

    def text(self, document: int) -> NormalizedText:
        """Return a stored text."""


@dataclass(frozen=True)
class Tokens:
    """Runs of windows of a query with one fingerprint, in order; together they are all its windows."""

    first: Int64s
    end: Int64s
    hashes: Uint64s
    common: npt.NDArray[np.bool_]

    def of_windows(self, first: int, last: int) -> slice:
        """Return which tokens hold the windows from `first` to `last`."""
        return slice(int(np.searchsorted(self.end, first, "right")), int(np.searchsorted(self.first, last, "right")))


def make_tokens(data: bytes, runs: WindowRuns, postings: Postings) -> Tokens:
    """Return the tokens of a query: by k-gram, and window by window where the k-gram is common."""
    scheme = postings.scheme
    grams = hash_spans(data, runs.gram, scheme.gram_bytes)
    common = postings.is_common(grams)
    counts = np.where(common, runs.count, 1)
    source = np.repeat(np.arange(len(grams)), counts)
    first, hashes, common = expand(runs.first, counts), grams[source], common[source]
    windows = np.flatnonzero(common)
    whole, window_hashes = hash_character_spans(data, first[windows], scheme.least_span, np.array([len(data)]))
    hashes[windows[whole]] = window_hashes
    # No span of characters begins at the other windows; they go with the token before them.
    begins = np.ones(len(first), bool)
    begins[windows[~whole]] = False
    first, hashes, common = first[begins], hashes[begins], common[begins]
    begins = np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]
    first = first[begins]
    end = np.append(first[1:], runs.first[-1] + runs.count[-1]) if len(first) else first
    return Tokens(first, end, hashes[begins], common[begins])


COMPARED_BYTES = 64
"""At a time, as one whole number: the lowest bit in which two numbers differ tells the byte."""


def agreement(left: bytes, left_start: int, right: bytes, right_start: int) -> int:
    """Return how many bytes agree from the two places on."""
    limit = min(len(left) - left_start, len(right) - right_start)
    agreed = 0
    while agreed < limit:
        size = min(COMPARED_BYTES, limit - agreed)
        mine, other = left_start + agreed, right_start + agreed
        differs = int.from_bytes(left[mine : mine + size], "little") ^ int.from_bytes(right[other : other + size], "little")
        if differs:
            return agreed + (_lowest_bit(differs) >> 3)
        agreed += size
    return agreed


def agreement_before(left: bytes, left_end: int, right: bytes, right_end: int) -> int:
    """Return how many bytes agree before the two places."""
    limit = min(left_end, right_end)
    agreed = 0
    while agreed < limit:
        size = min(COMPARED_BYTES, limit - agreed)
        mine, other = left_end - agreed, right_end - agreed
        differs = int.from_bytes(left[mine - size : mine], "big") ^ int.from_bytes(right[other - size : other], "big")
        if differs:
            return agreed + (_lowest_bit(differs) >> 3)
        agreed += size
    return agreed


def _lowest_bit(number: int) -> int:
    return (number & -number).bit_length() - 1


class Search:
    """The search for one query. `run` fills `found`; `is_complete` says whether it got to the end.

    Args:
        since: byte of the query; spans that end before it are not sought. A span that is found may begin before it.
    """

    def __init__(self, query: NormalizedText, postings: Postings, since: int = 0) -> None:
        self.query, self._postings, self._scheme = query, postings, postings.scheme
        self._data = query.data
        searched = self._data if query.num_characters >= self._scheme.least_span else b""
        # A window that holds no byte from `since` on begins before this one.
        first = min(max(0, since - self._scheme.least_span + 1), len(searched))
        runs = window_runs(searched[first:], np.array([len(searched) - first]), self._scheme)
        self._runs = WindowRuns(runs.first + first, runs.count, runs.gram + first)
        self.tokens = make_tokens(searched, self._runs, postings)
        self.found = MaximalSpans()
        # Windows that are covered, or of which there is nothing to cover as no character begins with them.
        self._covered = (np.frombuffer(self._data, np.uint8) & 0xC0) == 0x80
        # Where the search begins in the middle: the first window that is sought with which a character begins.
        self._begins_at = first + int(np.argmin(self._covered[first:])) if 0 < first < len(self._data) else -1
        self._absent: dict[int, set[int]] = {}  # document -> hashes of windows that a thinned search did not find in it
        self._visits = 0

    @property
    def is_complete(self) -> bool:
        return self._visits < MAX_VISITS

    def run(self) -> list[Span]:
        """Return the spans of at least `least_span` characters, none inside another, in order."""
        for start in range(0, len(self.tokens.first), BLOCK_TOKENS):
            left = self._candidates(start, start + BLOCK_TOKENS)
            changes = -1
            while len(left) and self.is_complete:
                if self._visits >= EXACT_VISITS:
                    self._search_thinly(left)
                    break
                if self.found.changes != changes:
                    changes = self.found.changes
                    left = left[~self.found.cover(left[:, 1], left[:, 3])]
                if len(left):
                    self._sweep(*left[0, :3].tolist())
                    left = left[1:]
        return self.found.spans()

    def _candidates(self, start: int, end: int) -> Int64s:
        """Return a row for each run of tokens that hit in one document, the longest first.

        Columns: document, first window, end of the windows, and a byte that no span of the run passes. The search does not
        see how far a run goes on that the block cuts off, or the first window that is sought; it has the end of the text
        there, so that it is always tried.
        """
        tokens = self.tokens
        hashes, inverse = np.unique(tokens.hashes[start:end], return_inverse=True)
        asked, documents = self._postings.look_up(hashes)
        borders = np.searchsorted(asked, np.arange(len(hashes) + 1))
        counts = np.diff(borders)[inverse]
        numbers = documents[expand(borders[:-1][inverse], counts)]
        pairs = np.sort(numbers << 32 | np.repeat(np.arange(len(inverse)), counts))
        begins = np.flatnonzero(np.append(True, np.diff(pairs) != 1)[: len(pairs)])
        firsts, lasts = pairs[begins], pairs[np.append(begins[1:], len(pairs))[: len(begins)] - 1]
        low, high = (firsts & 0xFFFFFFFF) + start, (lasts & 0xFFFFFFFF) + start
        is_cut = ((low == start) & (tokens.first[low] > 0)) | ((high == end - 1) & (end < len(tokens.first)))
        limits = np.where(is_cut, len(self._data) + 1, self._ends_of_characters(tokens.end[high] - 1))
        rows = np.stack([firsts >> 32, tokens.first[low], tokens.end[high], limits], axis=1)
        return rows[np.argsort(rows[:, 1] - rows[:, 2], kind="stable")]

    def _sweep(self, document: int, window: int, end: int) -> None:
        """Find all maximal spans that the document shares with the windows from `window` to `end`."""
        stored, runs = self._postings.text(document).data, self._runs
        reached: dict[int, int] = {}  # diagonal -> end of the last span on it
        ahead: list[tuple[int, int]] = []  # spans that begin after the window at hand: first byte, last window covered
        while window < end:
            if self._visits >= EXACT_VISITS:
                self._sweep_thinly(document, np.arange(window, end))
                return
            run = int(np.searchsorted(runs.first, window, "right")) - 1
            spans, is_exhaustive = self._spans_at(int(runs.gram[run]), window, stored, document, reached)
            ahead += spans
            window = min(int(runs.first[run] + runs.count[run]) if is_exhaustive else window + 1, end)
            while (covered := max((last for first, last in ahead if first <= window), default=-1)) >= window:
                window = covered + 1
            ahead = [span for span in ahead if span[1] >= window]

    def _spans_at(
        self, gram: int, window: int, stored: bytes, document: int, reached: dict[int, int]
    ) -> tuple[list[tuple[int, int]], bool]:
        """Extend from every place of the k-gram; returns what `_extend` does, and whether all places were tried."""
        self._visits += 1
        wanted = self._data[gram : gram + self._scheme.gram_bytes]
        spans: list[tuple[int, int]] = []
        place = stored.find(wanted)
        for _ in range(MAX_OCCURRENCES):
            if place < 0:
                return spans, True
            if reached.get(place - gram, -1) < gram + len(wanted):
                spans.append(self._extend(gram, place, stored, document, reached))
            place = stored.find(wanted, place + 1)
        if self.query.begins_character(window):
            end = self._end_of_characters(window)
            start = self._reach_before(window, end, stored) if window == self._begins_at else window
            place = stored.find(self._data[start:end])
            if place >= 0:
                spans.append(self._extend(start, place, stored, document, reached))
        return spans, False

    def _reach_before(self, window: int, end: int, stored: bytes) -> int:
        """Return the first byte from which on the query stands in the text up to the end of a window, or the window's own.

        Other windows have some before them, which found what begins there. The first that is sought has none, and the
        place of it that comes first in the text need not be the one that holds more before it.
        """
        return bisect_left(range(window), True, key=lambda first: stored.find(self._data[first:end]) >= 0)

    def _end_of_characters(self, window: int) -> int:
        """Return where `least_span` characters end of which the first holds byte `window`."""
        # A continuation byte belongs to the character that begins before it.
        return self.query.byte_of(self.query.character_of(window + 1) - 1 + self._scheme.least_span)

    def _ends_of_characters(self, windows: Int64s) -> Int64s:
        """Return `_end_of_characters` of each."""
        return self.query.bytes_of(self.query.characters_of(windows + 1) - 1 + self._scheme.least_span)

    def _extend(self, start: int, place: int, stored: bytes, document: int, reached: dict[int, int]) -> tuple[int, int]:
        """Extend one place to both sides and keep the span when it is long enough.

        Returns its first byte and the last window that it covers (-1 when none).
        """
        self._visits += 1
        first = start - agreement_before(self._data, start, stored, place)
        end = start + agreement(self._data, start, stored, place)
        reached[place - start] = end
        first, end = self.query.trim_to_characters(first, end)
        surplus = self.query.character_of(end) - self.query.character_of(first) - self._scheme.least_span
        if surplus < 0:
            return first, -1
        self.found.add(Span(first, end, document, place - start + first))
        last_window = self.query.byte_of(self.query.character_of(first) + surplus)
        self._covered[first : last_window + 1] = True
        return first, last_window

    def _search_thinly(self, rows: Int64s) -> None:
        """Go on with the rest of a block: one document after another, that of the longest run first."""
        documents, ranks, members = np.unique(rows[:, 0], return_index=True, return_inverse=True)
        grouped = np.argsort(members, kind="stable")
        borders = np.searchsorted(members[grouped], np.arange(len(documents) + 1))
        for number in np.argsort(ranks).tolist():
            own = rows[grouped[borders[number] : borders[number + 1]]]
            own = own[np.argsort(own[:, 1])]
            self._sweep_thinly(int(documents[number]), expand(own[:, 1], own[:, 2] - own[:, 1]))

    @cached_property
    def _kinds(self) -> Uint64s:
        """A hash of the characters that begin at each window, made when the search is first thinned.

        Windows with which no `least_span` characters begin count as covered from then on.
        """
        least, num_windows = self._scheme.least_span, len(self._data) - self._scheme.least_span + 1
        kinds = np.zeros(num_windows, np.uint64)
        for start in range(0, num_windows, THIN_WINDOWS):
            windows = np.arange(min(THIN_WINDOWS, num_windows - start))
            part = self._data[start : start + len(windows) + 4 * least]  # characters have four bytes at most
            whole, kinds[start + windows[whole]] = hash_character_spans(part, windows, least, np.array([len(part)]))
            self._covered[start + windows[~whole]] = True
        return kinds

    def _sweep_thinly(self, document: int, windows: Int64s) -> None:
        """Find a span of the document for each window that none covers yet; equal windows are sought once."""
        kinds, absent = self._kinds, self._absent.setdefault(document, set())
        for start in range(0, len(windows), THIN_WINDOWS):
            uncovered = windows[start : start + THIN_WINDOWS]
            uncovered = uncovered[~self._covered[uncovered]]
            if not len(uncovered) or not self.is_complete:
                continue
            self._visits += 1 + len(uncovered) // 1024  # passing over windows is not free either
            if absent and len(uncovered) > 256:
                own, inverse = np.unique(kinds[uncovered], return_inverse=True)
                uncovered = uncovered[np.array([kind not in absent for kind in own.tolist()])[inverse]]
            self._find_thinly(document, uncovered, kinds[uncovered].tolist(), absent)

    def _find_thinly(self, document: int, windows: Int64s, kinds: list[int], absent: set[int]) -> None:
        """Go through the windows, seek those that no span covers by then, and remember which kinds are absent."""
        stored, places, at = self._postings.text(document).data, dict[int, int](), 0
        while at < len(kinds):
            kind, first = kinds[at], int(windows[at])
            at += 1
            if kind in absent:
                continue
            if kind not in places:
                self._visits += 1
                places[kind] = stored.find(self._data[first : self._end_of_characters(first)])
            if places[kind] < 0:
                absent.add(kind)
            else:
                _, last = self._extend(first, places[kind], stored, document, {})
                at = max(at, int(np.searchsorted(windows, last, "right")))
