"""From buckets to pairs of documents that are worth a comparison.

Documents are known by their rank here: 0 is the best. A pair is one 64-bit number, the worse document before the better:
sorted pairs come in the order in which they are decided, and equal ones of different bands lie side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stackwright.curate.near_dedup.shingles import U64, Indices

MOST_COMPARED = 100
"""Members of a bucket that are compared pair by pair; of a larger one each is compared with the best-ranked only."""

_RANK_BITS = np.uint64(32)
_RANK_MASK = np.uint64(0xFFFFFFFF)


def pack_pairs(worse: Indices, better: Indices) -> U64:
    """Return pairs of ranks as numbers."""
    return (worse.astype(np.uint64) << _RANK_BITS) | better.astype(np.uint64)


def unpack_pairs(pairs: U64) -> tuple[Indices, Indices]:
    """Return the ranks of (worse, better) of each pair."""
    return (pairs >> _RANK_BITS).astype(np.int64), (pairs & _RANK_MASK).astype(np.int64)


@dataclass(frozen=True)
class Candidates:
    """Pairs that share a bucket, sorted, each once; and how many buckets were too crowded to compare all."""

    pairs: U64
    crowded_buckets: int


def candidate_pairs(buckets: U64, ranks: Indices) -> Candidates:
    """Return the pairs of documents that share a bucket. `buckets[i]` holds the document `ranks[i]`."""
    order = np.lexsort((ranks, buckets))
    buckets, ranks = buckets[order], ranks[order]
    begins = np.flatnonzero(np.concatenate([[True], buckets[1:] != buckets[:-1]])) if len(buckets) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(begins, len(buckets)))
    crowded = sizes > MOST_COMPARED
    small = np.unique(sizes[(sizes > 1) & ~crowded]).tolist()
    pairs = [_pairs_with_best(ranks, begins[crowded], sizes[crowded])]
    pairs += [_all_pairs(ranks, begins[sizes == size], size) for size in small]
    return Candidates(np.unique(np.concatenate(pairs)), int(np.count_nonzero(crowded)))


def _all_pairs(ranks: Indices, begins: Indices, size: int) -> U64:
    """Return every pair within each bucket of one size. Ranks rise within a bucket."""
    better, worse = np.triu_indices(size, k=1)
    return pack_pairs(ranks[begins[:, None] + worse], ranks[begins[:, None] + better]).ravel()


def _pairs_with_best(ranks: Indices, begins: Indices, sizes: Indices) -> U64:
    """Return each member of each bucket paired with the first, which has the best rank."""
    pairs = [
        pack_pairs(ranks[begin + 1 : begin + size], np.full(size - 1, ranks[begin]))
        for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True)
    ]
    return np.concatenate([np.zeros(0, np.uint64), *pairs])
