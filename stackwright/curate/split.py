"""Train, validation and test by repository.

A repository falls where a keyed hash of its name says, whatever other repositories there are: adding one moves none.
All revisions and all files of a repository stay together, so held-out text is not a neighbour of training text.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from stackwright.recipe import SplitSettings

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def split_of(repo: str, seed: int, settings: SplitSettings) -> Split:
    """Return the split of a repository: a pure function of its name, the seed and the shares."""
    digest = hashlib.blake2b(repo.encode("utf-8"), digest_size=8, key=b"split-%d" % seed).digest()
    position = int.from_bytes(digest, "big") / 2**64  # uniform in [0, 1)
    if position < settings.test_fraction:
        return "test"
    if position < settings.test_fraction + settings.validation_fraction:
        return "validation"
    return "train"
