"""All texts of an index in memory, with a table of places: the search of `search.py` in microseconds, for who cites much.

In: the texts, and queries in bytes. Out: `Agreements`, every piece of a query that stands in a text and cannot be made
longer there. The method:

1. The k-gram at every `stride`-th byte of the texts is kept by its hash. With stride = least_span - gram_bytes + 1 every
   span of `least_span` bytes, wherever it stands, holds one of these k-grams whole.
2. The k-gram at each byte of the query is looked up, and compared with the text.
3. A hit is extended to both sides. An agreement is taken at its first hit: if the `stride` bytes before a hit agree too, the
   k-gram that begins with them has been one.

So there is nothing to sample by content, no common k-gram to treat apart and no text to scan; the price is about twice the
memory of the texts. A query that hits too often, as one that repeats itself may, is refused: `search.py` thins it.
"""

# Numba reads these functions, not a type checker: it has no types of its own to give.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from stackwright.attribute.bits import Bytes, Int64s
from stackwright.attribute.fingerprint import LOAD_BYTES, Scheme, unaligned_loads
from stackwright.attribute.intervals import Span
from stackwright.attribute.normalize import Location, is_continuation
from stackwright.attribute.originals import join_normalized
from stackwright.errors import DataError

MOST_HITS = 200_000
"""K-grams of a query found in the texts; a hundred of them take some microseconds."""

TAG_BITS = 8
"""Bits of a hash beside the number of a k-gram: of the k-grams that only share a bucket few have to be read."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_FOLD = np.uint64(29)
_TAG_MASK = np.uint64((1 << TAG_BITS) - 1)
_NUMBER_BITS = np.uint32(32 - TAG_BITS)
_NUMBER_MASK = np.uint32((1 << (32 - TAG_BITS)) - 1)

_is_continuation = njit(cache=True)(is_continuation)


@dataclass(frozen=True)
class Agreements:
    """Pieces of a query that stand in texts, as columns of `Span`, by where in all the texts the whole query would begin.

    So of those that hold one span the documents ascend, and in one document the bytes at which it begins.
    """

    starts: Int64s
    ends: Int64s
    documents: Int64s
    offsets: Int64s

    @property
    def _columns(self) -> tuple[Int64s, Int64s, Int64s, Int64s]:
        return self.starts, self.ends, self.documents, self.offsets

    def maximal(self) -> list[Span]:
        """Return the spans of the query that lie in no other, in order, each once."""
        rows = _maximal(self.starts, self.ends)
        return [Span(*row) for row in zip(*(column[rows].tolist() for column in self._columns), strict=True)]

    def holders(self, span: Span, most: int) -> list[tuple[int, int]]:
        """Return the first `most` documents that hold a span of the query, and the byte of each at which it begins first."""
        documents, offsets = _holders(*self._columns, span.start, span.end, most)
        return list(zip(documents.tolist(), offsets.tolist(), strict=True))


class LoadedTexts:
    """Texts in memory, given in UTF-8. Numbers of documents are their places in `texts`."""

    def __init__(self, texts: Iterable[Bytes], scheme: Scheme) -> None:
        self._joined = join_normalized(texts)
        self._words = unaligned_loads(self._joined.data)
        self._least_span, self._gram_bytes, self._stride = scheme.least_span, scheme.gram_bytes, scheme.grams_in_window
        num_grams = max(-(-(len(self._joined.data) - self._gram_bytes + 1) // self._stride), 0)
        if num_grams >> (32 - TAG_BITS):
            raise DataError(
                f"{len(self._joined.data):,} bytes of text are too many to be held", "cite from the index on disk"
            )
        shift = np.uint64(64 - max(num_grams.bit_length(), 1))
        self._table = (*_make_table(self._words, num_grams, self._stride, self._gram_bytes, shift), shift)
        self._compile()

    def _compile(self) -> None:
        """Call every function once, so that the first query does not wait for a compiler."""
        nothing = self.agreements(b"\xfe" * self._least_span)  # a byte that no text has
        assert nothing is not None
        nothing.maximal()
        nothing.holders(Span(0, 0, 0, 0), 1)
        self.locate([], 1)

    def agreements(self, query: bytes, since: int = 0, most_hits: int = MOST_HITS) -> Agreements | None:
        """Return the agreements of `least_span` characters or more that end after byte `since`; None for too many hits."""
        padded = query + bytes(LOAD_BYTES)
        own = (np.frombuffer(padded, np.uint8), unaligned_loads(padded), len(query))
        lengths = (self._gram_bytes, self._stride, self._least_span)
        texts = (self._joined.data, self._words)
        is_whole, starts, ends, places = _agreements(own, texts, self._table, lengths, since, most_hits)
        begins = self._joined.begins
        documents = begins.searchsorted(places, "right") - 1
        return Agreements(starts, ends, documents, places - begins[documents]) if is_whole else None

    def locate(self, holders: Sequence[tuple[int, int]], length: int) -> list[Location]:
        """Return where a span stands in texts as they were: `length` bytes of the normalised documents, at bytes of them."""
        documents, offsets = np.array(holders, np.int64).reshape(-1, 2).T
        return self._joined.locate(documents, offsets, length)


@njit(cache=True)
def _hash(words, place, gram_bytes):
    """Return a hash of the k-gram at `place`, of eight bytes or more; its high bits depend on every byte."""
    value = words[place + gram_bytes - 8] * _SPREAD
    for offset in range(0, gram_bytes - 8, 8):
        value = (value ^ (value >> _FOLD) ^ words[place + offset]) * _SPREAD
    return (value ^ (value >> _FOLD)) * _SPREAD


@njit(cache=True)
def _tag(hashed):
    """Return bits that do not choose the bucket, above those of a k-gram's number."""
    return np.uint32(hashed & _TAG_MASK) << _NUMBER_BITS


@njit(cache=True)
def _make_table(words, num_grams, stride, gram_bytes, shift):
    """Return, for each bucket of hashes, where its k-grams begin in the second array, which has their tags and numbers."""
    hashes = np.empty(num_grams, np.uint64)
    firsts = np.zeros((1 << (64 - np.int64(shift))) + 1, np.uint32)
    for gram in range(num_grams):
        hashes[gram] = _hash(words, gram * stride, gram_bytes)
        firsts[np.int64(hashes[gram] >> shift) + 1] += np.uint32(1)
    for number in range(1, len(firsts)):
        firsts[number] += firsts[number - 1]
    grams, filled = np.empty(num_grams, np.uint32), firsts[:-1].copy()
    for gram, hashed in enumerate(hashes):
        bucket = np.int64(hashed >> shift)
        grams[filled[bucket]] = _tag(hashed) | np.uint32(gram)
        filled[bucket] += np.uint32(1)
    return firsts, grams


@njit(cache=True)
def _is_equal(left_words, left, right_words, right, length):
    """Whether `length` bytes, eight or more, agree."""
    for offset in range(0, length - 8, 8):
        if left_words[left + offset] != right_words[right + offset]:
            return False
    return left_words[left + length - 8] == right_words[right + length - 8]


@njit(cache=True)
def _agreement_before(own, texts, start, stored, most):
    """Return how many bytes agree before two places, `most` at the most."""
    query, query_words, _ = own
    data, words = texts
    most, agreed = min(most, start, stored), 0
    while agreed + 8 <= most and query_words[start - agreed - 8] == words[stored - agreed - 8]:
        agreed += 8
    while agreed < most and query[start - agreed - 1] == data[stored - agreed - 1]:
        agreed += 1
    return agreed


@njit(cache=True)
def _agreement_after(own, texts, end, stored):
    """Return how many bytes agree from two places on. No text is passed: the query has no `SEPARATOR`."""
    query, query_words, length = own
    data, words = texts
    agreed = 0
    while end + agreed + 8 <= length and query_words[end + agreed] == words[stored + agreed]:
        agreed += 8
    while end + agreed < length and query[end + agreed] == data[stored + agreed]:
        agreed += 1
    return agreed


@njit(cache=True)
def _trimmed(own, start, end):
    """Return the whole characters of a span, and how many they are."""
    query, _, length = own
    while start < end and _is_continuation(query[start]):
        start += 1
    while end > start and end < length and _is_continuation(query[end]):
        end -= 1
    characters = 0
    for place in range(start, end):
        characters += not _is_continuation(query[place])
    return start, end, characters


@njit(cache=True, nogil=True)  # a server answers others meanwhile
def _agreements(own, texts, table, lengths, since, most_hits):
    """Return whether there are few enough hits, and the agreements: starts, ends, places in the texts."""
    _, query_words, length = own
    _, words = texts
    firsts, grams, shift = table
    gram_bytes, stride, least_span = lengths
    found, count, num_hits = np.empty((3, 64), np.int64), 0, 0
    # The last window of an agreement ends with it, and holds a k-gram that is kept.
    first = max(0, since - least_span + 1)
    for place in range(first, length - gram_bytes + 1):
        hashed = _hash(query_words, place, gram_bytes)
        bucket = np.int64(hashed >> shift)
        for entry in range(firsts[bucket], firsts[bucket + 1]):
            if grams[entry] & ~_NUMBER_MASK != _tag(hashed):
                continue
            stored = np.int64(grams[entry] & _NUMBER_MASK) * stride
            if not _is_equal(query_words, place, words, stored, gram_bytes):
                continue
            num_hits += 1
            if num_hits > most_hits:
                return False, found[0, :0], found[1, :0], found[2, :0]
            if place - stride >= first and _agreement_before(own, texts, place, stored, stride) == stride:
                continue
            start = place - _agreement_before(own, texts, place, stored, place)
            end = place + gram_bytes + _agreement_after(own, texts, place + gram_bytes, stored + gram_bytes)
            start, end, characters = _trimmed(own, start, end)
            # One that ends before `since` may lie in another that was not sought.
            if end <= since or characters < least_span:
                continue
            if count == found.shape[1]:
                found = np.concatenate((found, np.empty_like(found)), axis=1)
            found[0, count], found[1, count], found[2, count] = start, end, start + stored - place
            count += 1
    found = found[:, np.argsort(found[2, :count] - found[0, :count])]
    return True, found[0], found[1], found[2]


@njit(cache=True)
def _maximal(starts, ends):
    """Return the rows of spans that lie in no other, in order, and of equal ones one."""
    order = np.argsort((starts << 32) - ends)
    reach, count = np.int64(-1), 0
    for row in order:
        if ends[row] > reach:
            reach = ends[row]
            order[count] = row
            count += 1
    return order[:count]


@njit(cache=True)
def _holders(starts, ends, documents, offsets, start, end, most):
    held, first_offsets = np.empty(min(most, len(starts)), np.int64), np.empty(min(most, len(starts)), np.int64)
    count = 0
    for row in range(len(starts)):
        if count == len(held):
            break
        is_held = starts[row] <= start and ends[row] >= end
        if is_held and (count == 0 or held[count - 1] != documents[row]):
            held[count], first_offsets[count] = documents[row], offsets[row] + start - starts[row]
            count += 1
    return held[:count], first_offsets[:count]
