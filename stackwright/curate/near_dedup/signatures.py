"""MinHash signatures and the buckets of their bands.

Signatures come from rensa, a compiled library, behind one function: any sketch whose entries agree with probability J, the
Jaccard of the two sets, would do. (rensa adapts Fast Similarity Sketching, Dahlgaard, Knudsen, Thorup, arXiv 1704.04370.)
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from stackwright.curate.near_dedup.presets import Preset
from stackwright.curate.near_dedup.shingles import U64, ShingleSets, mix

SEED = 42

Signatures = npt.NDArray[np.uint32]


def minhash(sets: ShingleSets, num_permutations: int) -> Signatures:
    """Return the signature [texts, permutations] of each shingle set."""
    os.environ.setdefault("RAYON_NUM_THREADS", "1")  # one worker, one core: the pool holds the others
    from rensa import RMinHash

    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        sets.hashes, sets.bounds.astype(np.uint64), num_permutations, SEED
    )
    return np.array(matrix.to_rows(), np.uint32).reshape(len(sets), num_permutations)


def band_buckets(signatures: Signatures, preset: Preset, salts: U64 | None = None) -> U64:
    """Return the bucket [texts, bands] that each band of each signature falls into.

    Texts meet in a bucket when all entries of a band are equal; up to the collisions of 64 bits, they then have the same
    bucket. Bands have buckets of their own, and so have texts of different `salts`.
    """
    bands = signatures[:, : preset.num_used].reshape(len(signatures), preset.bands, preset.rows)
    buckets = np.tile(mix(np.arange(1, preset.bands + 1, dtype=np.uint64)), (len(signatures), 1))
    if salts is not None:
        buckets = buckets ^ salts[:, None]
    for row in range(preset.rows):
        buckets = mix(buckets ^ bands[:, :, row])
    return buckets
