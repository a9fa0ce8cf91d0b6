"""Texts to sets of shingles, as sorted 64-bit hashes, with numpy over many texts at once.

A token is a run of letters, digits and underscore. Its hash is a polynomial over the random numbers of its characters,
taken from prefix sums, so that a whole batch of texts is hashed in a few passes and without a Python object per token. A
shingle's hash mixes those of its tokens with their places. Hashes have 64 bits: that two different shingles of a corpus
of 10^9 are taken for one has a probability of 0.03, and would move one Jaccard by one shingle.

A test holds this equal to a plain reference on real code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from stackwright.curate.near_dedup.license_comment import end_of_license_comment
from stackwright.curate.near_dedup.presets import ShingleRule

U64 = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

BATCH_CHARACTERS = 1 << 18
"""Text hashed at a time: its arrays of 64-bit numbers stay in the cache of a core."""

_UNICODE_SIZE = 0x110000
_BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2^64
_INVERSE_BASE = pow(_BASE, -1, 1 << 64)
_SEPARATOR = "\n"  # no letter by any rule


@dataclass(frozen=True)
class ShingleSets:
    """The shingles of several texts: those of text i are `hashes[bounds[i] : bounds[i + 1]]`, sorted, each once."""

    hashes: U64
    bounds: Indices

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def of(self, index: int) -> U64:
        return self.hashes[self.bounds[index] : self.bounds[index + 1]]


def mix(values: U64) -> U64:
    """Return the values stirred, so that every bit depends on every bit (SplitMix64's finaliser, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def shingle_texts(texts: Sequence[str], rule: ShingleRule) -> ShingleSets:
    """Return the shingle set of each text; that of an exempt text, with fewer than `least_tokens` tokens, is empty."""
    sets: list[U64] = [np.zeros(0, np.uint64)] * len(texts)
    prepared = [prepare(text, rule) for text in texts]
    for indices in _batches(prepared):
        for index, hashes in zip(indices, _shingle_batch([prepared[i] for i in indices], rule), strict=True):
            sets[index] = hashes
    bounds = np.cumsum([0, *(len(hashes) for hashes in sets)], dtype=np.int64)
    return ShingleSets(np.concatenate([np.zeros(0, np.uint64), *sets]), bounds)


def prepare(text: str, rule: ShingleRule) -> str:
    """Return the part of a text that is compared, in the case that is compared."""
    if rule.skip_license_comment:
        text = text[end_of_license_comment(text) :]
    return text.lower() if rule.lower_case else text


def _batches(texts: Sequence[str]) -> Iterator[list[int]]:
    """Yield the numbers of texts to hash together; ASCII texts, a byte a character, apart from the others."""
    for ascii_only in (True, False):
        batch: list[int] = []
        size = 0
        for index, text in enumerate(texts):
            if text.isascii() != ascii_only:
                continue
            if batch and size + len(text) > BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
            batch.append(index)
            size += len(text) + 1
        if batch:
            yield batch


def _shingle_batch(texts: Sequence[str], rule: ShingleRule) -> list[U64]:
    characters = _characters(_SEPARATOR.join(texts))
    ends_of_texts = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64)
    starts, ends = _token_spans(_is_letter(characters, rule.letters), rule)
    tokens = _token_hashes(characters, starts, ends)
    # A token belongs to the text it begins in; an empty last one begins at the separator that ends its text.
    text_of_token = np.searchsorted(ends_of_texts, starts, side="right")
    borders = np.searchsorted(text_of_token, np.arange(len(texts) + 1))
    return [_shingle_set(tokens[first:last], rule) for first, last in pairwise(borders.tolist())]


def _characters(text: str) -> npt.NDArray[Any]:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


@cache
def _letter_table(letters: str) -> npt.NDArray[np.bool_]:
    """Return for each code point whether it belongs to a token. What Python's `isalnum` says, and the underscore."""
    size = 128 if letters == "ascii" else _UNICODE_SIZE
    table = np.zeros(_UNICODE_SIZE, np.bool_)
    table[:size] = np.fromiter((chr(point).isalnum() for point in range(size)), np.bool_, size)
    table[ord("_")] = True
    return table


def _is_letter(characters: npt.NDArray[Any], letters: str) -> npt.NDArray[np.bool_]:
    if characters.dtype == np.uint8:
        letters = "ascii"  # the rules agree on ASCII, and its table is made at once
    is_letter: npt.NDArray[np.bool_] = _letter_table(letters)[characters]
    return is_letter


def _token_spans(is_letter: npt.NDArray[np.bool_], rule: ShingleRule) -> tuple[Indices, Indices]:
    """Return where tokens begin and end. Between two neighbouring separators lies an empty token."""
    separators = np.flatnonzero(~is_letter)
    starts = np.concatenate([[0], separators + 1])
    ends = np.concatenate([separators, [len(is_letter)]])
    if rule.drop_empty:
        filled = ends > starts
        return starts[filled], ends[filled]
    return starts, ends


@cache
def _powers(base: int, count: int) -> U64:
    """Return base^0 .. base^(count-1) modulo 2^64."""
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def _powers_up_to(base: int, count: int) -> U64:
    return _powers(base, 1 << max(count - 1, BATCH_CHARACTERS).bit_length())[:count]


@cache
def _ascii_numbers() -> U64:
    return mix(np.arange(1, 129, dtype=np.uint64) * np.uint64(_BASE))


def _numbers(characters: npt.NDArray[Any]) -> U64:
    """Return a random 64-bit number for each character, the same for the same character."""
    if characters.dtype == np.uint8:
        numbers: U64 = _ascii_numbers()[characters]
        return numbers
    return mix((characters.astype(np.uint64) + np.uint64(1)) * np.uint64(_BASE))


def _token_hashes(characters: npt.NDArray[Any], starts: Indices, ends: Indices) -> U64:
    """Return the sum of number(c_i) base^i over each token, with i counted from its beginning; 0 for an empty one."""
    prefix = np.zeros(len(characters) + 1, np.uint64)
    np.cumsum(_numbers(characters) * _powers_up_to(_BASE, len(characters)), out=prefix[1:])
    inverse = _powers_up_to(_INVERSE_BASE, len(characters) + 1)
    hashes: U64 = (prefix[ends] - prefix[starts]) * inverse[starts]
    return mix(hashes)


def _shingle_set(tokens: U64, rule: ShingleRule) -> U64:
    num_shingles = len(tokens) - rule.ngram + 1
    if len(tokens) < rule.least_tokens or num_shingles < 1:
        return np.zeros(0, np.uint64)
    sums = np.zeros(num_shingles, np.uint64)
    for place, factor in enumerate(_powers(_BASE, rule.ngram + 1)[1:]):
        sums += tokens[place : place + num_shingles] * factor
    hashes = mix(sums)
    hashes.sort()
    is_new = np.concatenate([[True], hashes[1:] != hashes[:-1]])
    distinct: U64 = hashes[is_new]
    return distinct


def jaccard(first: U64, second: U64) -> float:
    """Return the exact Jaccard of two shingle sets: shared over all; 0 when both are empty."""
    both = np.concatenate([first, second])
    both.sort()
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    total = len(both) - shared
    return shared / total if total else 0.0
