"""The Jaccards of the last run: two texts that were compared once need not be compared again.

A pair is known by two 64-bit hashes made of its texts' hashes, whichever comes first. The first is what is looked up, the
second is what confirms it, so that taking one pair for another has a probability of about 2^-128 a pair. Files are mapped
into memory and searched, never loaded: each holds the sorted first hashes, then the second ones, then the Jaccards.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stackwright.curate.near_dedup.shingles import U64, mix
from stackwright.files import write_bytes

Similarities = npt.NDArray[np.float64]


class PairKeys(NamedTuple):
    """Both hashes of each pair."""

    first: U64
    second: U64


def pair_keys(texts: U64, others: U64) -> PairKeys:
    """Return the keys of pairs of texts, given by their hashes."""
    low, high = np.minimum(texts, others), np.maximum(texts, others)
    return PairKeys(mix(low ^ mix(high + np.uint64(1))), mix(high ^ mix(low + np.uint64(2))))


def remember_jaccards(folder: Path, index: int, keys: PairKeys, values: Similarities) -> None:
    """Write one range's pairs; `recall_jaccards` finds those of all ranges."""
    order = np.argsort(keys.first)
    arrays = (keys.first[order].astype("<u8"), keys.second[order].astype("<u8"), values[order].astype("<f8"))
    write_bytes(folder / f"range-{index:05d}.jaccards", b"".join(array.tobytes() for array in arrays))


def recall_jaccards(keys: PairKeys, folder: Path | None) -> Similarities:
    """Return the Jaccard of each pair, NaN where it is not known."""
    values = np.full(len(keys.first), np.nan)
    for path in () if folder is None else sorted(folder.glob("range-*.jaccards")):
        count = path.stat().st_size // 24
        if count == 0 or path.stat().st_size % 24:
            continue
        words: U64 = np.memmap(path, "<u8", "r").view(np.ndarray)
        first, second, known = words[:count], words[count : 2 * count], words[2 * count :].view("<f8")
        places = np.minimum(np.searchsorted(first, keys.first), count - 1)
        found = (first[places] == keys.first) & (second[places] == keys.second)
        values[found] = known[places[found]]
    return values
