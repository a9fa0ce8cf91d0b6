"""The fingerprints of the licence texts: every text of the SPDX list as the row of its words' hashes.

In: `fingerprints.npz` and `fingerprints.json`, written by `make_fingerprints`. Out: `Fingerprints`, loaded once per process,
with an index from four following words to the places where the texts have them. A word is known by a hash of 32 bits and
its number in the file; no word is stored. Two texts that differ in one word differ here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stackwright.govern.licenses.words import canonical_word

GRAM = 4
"""Words that must follow one another to be found. Fewer are found beside longer runs only."""

NOT_COMPARED, NOT_KNOWN = -2, -1

NO_TERMS = "LicenseRef-no-terms"
"""The id of a text that licence files hold beside the licence and that is none: the history of Python."""

LLVM_EXCEPTION = "LLVM-exception"

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


def word_hash(word: str) -> int:
    """Return the hash by which a word is known: 32 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8"), digest_size=4).digest(), "little")


class WordNumbers(dict[str, int]):
    """The number of a word; computed on first sight and remembered, up to a bound."""

    _BOUND = 200_000

    def __init__(self, numbers: dict[int, int]) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, word: str) -> int:
        canonical = canonical_word(word)
        number = self._numbers.get(word_hash(canonical), NOT_KNOWN) if canonical else NOT_COMPARED
        if len(self) >= self._BOUND:
            self.clear()
        self[word] = number
        return number


@dataclass(frozen=True)
class Template:
    """One text: its id, the ids of the list that share it, its words, and which of them may be missing."""

    license_id: str
    ids: tuple[str, ...]
    start: int  # of its words in the row of all texts
    size: int
    optional: tuple[tuple[int, int], ...]  # ranges of its words: a title, an appendix on how to apply it
    title: frozenset[int]  # numbers of the words of its names

    @property
    def required(self) -> int:
        return self.size - sum(end - start for start, end in self.optional)


@dataclass(frozen=True)
class Hits:
    """Places where four words of a text stand in the texts of the list: pairs of position here and position there."""

    here: Int64
    there: Int64
    template: Int64


class Fingerprints:
    """Every text of the list, and the index into them."""

    def __init__(self, facts: dict[str, Any], hashes: NDArray[np.uint32], row: NDArray[np.uint16]) -> None:
        self.facts = facts
        self.row = row.astype(np.int32)
        self.numbers = WordNumbers({int(value): number for number, value in enumerate(hashes)})
        self.templates = tuple(_templates(facts))
        self.required = np.array([template.required for template in self.templates], dtype=np.int64)
        self.owner = np.repeat(np.arange(len(self.templates)), [template.size for template in self.templates])
        self.titles = {license_id: template.title for template in self.templates for license_id in template.ids}
        self._grams, self._first, self._places = self._index()
        self.exact = {key: number for number, t in enumerate(self.templates) for key in self._variants(t)}

    def words_of(self, template: Template) -> Int32:
        return self.row[template.start : template.start + template.size]

    def _variants(self, template: Template) -> list[bytes]:
        """Return a text as a key, as it is and without what may be missing."""
        words = self.words_of(template)
        kept = np.ones(template.size, dtype=bool)
        keys = [words.tobytes()]
        for start, end in template.optional:
            kept[start:end] = False
            alone = np.ones(template.size, dtype=bool)
            alone[start:end] = False
            keys += [words[alone].tobytes(), words[kept].tobytes()]
        return keys

    def _index(self) -> tuple[UInt64, Int64, Int64]:
        grams = pack_grams(self.row)
        # A run over the border of two texts belongs to neither.
        places = np.flatnonzero(self.owner[: len(grams)] == self.owner[GRAM - 1 :])
        order = np.argsort(grams[places], kind="stable")
        places = places[order]
        found, first = np.unique(grams[places], return_index=True)
        return found, np.append(first, len(places)).astype(np.int64), places.astype(np.int64)

    def find(self, words: Int32) -> Hits:
        """Return where the runs of a text stand in the list. Words that the list does not know break a run."""
        grams = pack_grams(words)
        known = words >= 0
        whole = np.flatnonzero(known[: len(grams)] & known[1 : len(grams) + 1] & known[2 : len(grams) + 2] & known[3:])
        grams = grams[whole]
        slot = np.searchsorted(self._grams, grams)
        slot[slot == len(self._grams)] = 0
        hit = self._grams[slot] == grams
        whole, slot = whole[hit], slot[hit]
        count = self._first[slot + 1] - self._first[slot]
        total = int(count.sum())
        base = np.repeat(self._first[slot] - np.concatenate(([0], np.cumsum(count)[:-1])), count)
        there = self._places[base + np.arange(total)] if total else np.zeros(0, dtype=np.int64)
        return Hits(np.repeat(whole, count), there, self.owner[there])


def pack_grams(words: Int32) -> UInt64:
    """Return each run of four words as one number. Numbers of words have at most 16 bits."""
    if len(words) < GRAM:
        return np.zeros(0, dtype=np.uint64)
    wide = words.astype(np.uint64)
    size = len(words) - GRAM + 1
    packed = wide[:size].copy()
    for step in range(1, GRAM):
        packed = (packed << np.uint64(16)) | (wide[step : step + size] & np.uint64(0xFFFF))
    return packed


def _templates(facts: dict[str, Any]) -> list[Template]:
    templates, start = [], 0
    for entry in facts["texts"]:
        title = frozenset(int(value) for value in entry["title"])
        optional = tuple((int(first), int(last)) for first, last in entry["optional"])
        templates.append(Template(entry["ids"][0], tuple(entry["ids"]), start, int(entry["words"]), optional, title))
        start += int(entry["words"])
    return templates


@cache
def load_fingerprints() -> Fingerprints:
    """Return the fingerprints; read once per process."""
    folder = resources.files("stackwright.govern.licenses")
    facts = json.loads((folder / "fingerprints.json").read_text("utf-8"))
    with resources.as_file(folder / "fingerprints.npz") as path, np.load(path, allow_pickle=False) as arrays:
        return Fingerprints(facts, arrays["hashes"], arrays["row"])
