"""From edges to what is kept: every dropped document is like a document that is kept.

Both rules see documents by rank, 0 the best.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stackwright.curate.near_dedup.shingles import Indices

Similarities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Edges:
    """Compared pairs: ranks of the worse and the better document, and their Jaccard."""

    worse: Indices
    better: Indices
    jaccard: Similarities

    def __len__(self) -> int:
        return len(self.worse)


class GreedyChoice:
    """Goes through documents from the best down; one is dropped when a kept document is near enough to it.

    Takes edges in slices of rising `worse`: when a document's turn comes, all better ones have been decided, so one bit per
    document is the whole memory. What is dropped has a verified edge to what is kept; what is kept has none to another.
    """

    def __init__(self, num_documents: int) -> None:
        self._dropped = np.zeros(num_documents, np.bool_)

    def decide(self, edges: Edges) -> npt.NDArray[np.bool_]:
        """Return which edges are decisive: for each dropped document the one to the most similar kept one.

        `edges` must be sorted by (worse, better), and hold all edges of each document in it.
        """
        decisive = np.zeros(len(edges), np.bool_)
        borders = [0, *(np.flatnonzero(np.diff(edges.worse)) + 1).tolist(), len(edges)]
        for begin, end in pairwise(borders) if len(edges) else ():
            kept = ~self._dropped[edges.better[begin:end]]
            if kept.any():
                # argmax takes the first of equals, which has the best rank
                decisive[begin + int(np.argmax(np.where(kept, edges.jaccard[begin:end], -1.0)))] = True
                self._dropped[edges.worse[begin]] = True
        return decisive


class Components:
    """Connected components by union-find; the root of each is its best-ranked document."""

    def __init__(self, num_documents: int) -> None:
        self._parent = np.arange(num_documents, dtype=np.int64)

    def join(self, worse: Iterable[int], better: Iterable[int]) -> None:
        """Join the components of each pair."""
        for first, second in zip(worse, better, strict=True):
            a, b = self._root(first), self._root(second)
            if a != b:
                self._parent[max(a, b)] = min(a, b)

    def _root(self, document: int) -> int:
        parent = self._parent
        while parent[document] != document:
            parent[document] = parent[parent[document]]  # halve the path
            document = int(parent[document])
        return document

    def roots(self) -> Indices:
        """Return the root of every document."""
        roots = self._parent.copy()
        while True:
            above = roots[roots]
            if np.array_equal(above, roots):
                return roots
            roots = above
