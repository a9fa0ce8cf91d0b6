"""How documents stand one after another in the stream of an epoch: each for itself, or the files of a repository together.

In: lengths in tokens. Out: for an epoch the order of the documents and the length of each one's segment of the stream, drawn
from the epoch's generator. `FileLayout` puts the files in any order, each with its end-of-text. `RepositoryLayout` is that
of StarCoder2 (FACTS B6): repositories in any order, their files in any order within them, one end-of-text after the last;

    with its name      <repo_name> name <file_sep> path newline code <file_sep> path newline code ... end-of-text
    without            <file_sep> code <file_sep> code ... end-of-text

each with probability one half, drawn anew in every epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class EpochOrder:
    """The documents of an epoch by their place in its stream.

    Attributes:
        documents: numbers of the documents.
        lengths: tokens of each one's segment.
        is_named, is_first, is_last: whether the document's repository has its name; whether it is the first of its
            repository, and the last.
    """

    documents: Ids
    lengths: Ids
    is_named: Flags
    is_first: Flags
    is_last: Flags


class Layout(Protocol):
    """What packing needs to know of the documents."""

    @property
    def least_tokens(self) -> int:
        """Tokens of an epoch's stream, at the least: what an epoch may be cut into is the same for all."""

    def draw(self, rng: np.random.Generator) -> EpochOrder:
        """Return the order of an epoch."""


class FileLayout:
    """Files, each a document of its own. Lengths include the end-of-text."""

    def __init__(self, lengths: Ids) -> None:
        self._lengths = lengths

    @property
    def least_tokens(self) -> int:
        return int(self._lengths.sum())

    def draw(self, rng: np.random.Generator) -> EpochOrder:
        order, every = rng.permutation(len(self._lengths)), np.ones(len(self._lengths), bool)
        return EpochOrder(order, self._lengths[order], ~every, every, every)


class RepositoryLayout:
    """Repositories, the files of each one joined.

    Args:
        lengths: of the files, end-of-text included.
        repositories: the name of each file's repository.
        path_lengths: tokens of the line that names each file.
        name_lengths: tokens of the name of each file's repository.
        name_rate: probability that a repository has its name, and its files their paths.
    """

    def __init__(
        self, lengths: Ids, repositories: Sequence[str], path_lengths: Ids, name_lengths: Ids, name_rate: float
    ) -> None:
        self._code_lengths = lengths - 1
        _, self._repositories = np.unique(np.array(repositories, dtype=object), return_inverse=True)
        self._num_repositories = int(self._repositories.max(initial=-1)) + 1
        self._path_lengths, self._name_lengths, self._name_rate = path_lengths, name_lengths, name_rate

    @property
    def least_tokens(self) -> int:
        return int(self._code_lengths.sum()) + len(self._code_lengths) + self._num_repositories

    def draw(self, rng: np.random.Generator) -> EpochOrder:
        rank = rng.permutation(self._num_repositories)[self._repositories]
        order: Ids = np.lexsort((rng.random(len(rank)), rank))
        is_named = (rng.random(self._num_repositories) < self._name_rate)[self._repositories[order]]
        changes = np.diff(rank[order], prepend=-1, append=-1) != 0
        is_first, is_last = changes[:-1], changes[1:]
        lengths = self._code_lengths[order] + 1 + is_last
        lengths += is_named * (self._path_lengths[order] + is_first * (self._name_lengths[order] + 1))
        return EpochOrder(order, lengths, is_named, is_first, is_last)
