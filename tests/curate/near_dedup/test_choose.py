"""Pairs and choices on small graphs, against plain implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.curate.near_dedup import candidates
from stackwright.curate.near_dedup.candidates import candidate_pairs, pack_pairs, unpack_pairs
from stackwright.curate.near_dedup.choose import Components, Edges, GreedyChoice


def pairs_of(buckets: list[int], ranks: list[int]) -> tuple[set[tuple[int, int]], int]:
    found = candidate_pairs(np.array(buckets, np.uint64), np.array(ranks, np.int64))
    assert np.all(np.diff(found.pairs.astype(object)) > 0)
    return set(zip(*(side.tolist() for side in unpack_pairs(found.pairs)), strict=True)), found.crowded_buckets


@given(st.lists(st.integers(0, 6), max_size=30), st.randoms(use_true_random=False))
def test_documents_of_one_bucket_are_paired(buckets: list[int], rng: object) -> None:
    ranks = list(range(len(buckets)))
    rng.shuffle(ranks)  # type: ignore[attr-defined]
    expected = {
        (max(a, b), min(a, b))
        for (first, a), (second, b) in itertools.combinations(zip(buckets, ranks, strict=True), 2)
        if first == second
    }
    assert pairs_of(buckets, ranks) == (expected, 0)


def test_members_of_a_crowded_bucket_meet_the_best_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "MOST_COMPARED", 3)
    assert pairs_of([5, 5, 5, 5], [9, 4, 7, 2]) == ({(9, 2), (4, 2), (7, 2)}, 1)
    assert pairs_of([5, 5, 5], [9, 4, 7]) == ({(9, 4), (7, 4), (9, 7)}, 0)


def edges_of(pairs: dict[tuple[int, int], float]) -> Edges:
    worse, better = (np.array([pair[side] for pair in sorted(pairs)], np.int64) for side in (0, 1))
    return Edges(worse, better, np.array([pairs[pair] for pair in sorted(pairs)], np.float64))


def test_a_document_near_to_a_dropped_one_only_is_kept() -> None:
    """A chain 0 - 1 - 2: 1 goes for 0, and 2, which is not near enough to 0, stays."""
    decisive = GreedyChoice(3).decide(edges_of({(1, 0): 0.8, (2, 1): 0.9}))
    assert decisive.tolist() == [True, False]


def test_the_most_similar_kept_document_is_the_one_named() -> None:
    decisive = GreedyChoice(4).decide(edges_of({(3, 0): 0.75, (3, 1): 0.9, (3, 2): 0.9}))
    assert decisive.tolist() == [False, True, False]


GRAPHS = st.dictionaries(
    st.tuples(st.integers(1, 12), st.integers(0, 11)).filter(lambda pair: pair[0] > pair[1]),
    st.sampled_from([0.7, 0.8, 0.9]),
    max_size=30,
)


@given(GRAPHS, st.integers(0, 13))
def test_what_is_kept_is_the_greedy_choice_in_any_slices(pairs: dict[tuple[int, int], float], cut: int) -> None:
    dropped: set[int] = set()
    for document in range(13):
        if any(worse == document and better not in dropped for worse, better in pairs):
            dropped.add(document)
    choice, found = GreedyChoice(13), set()
    for part in ({pair: j for pair, j in pairs.items() if (pair[0] < cut) == first} for first in (True, False)):
        edges = edges_of(part)
        decisive = choice.decide(edges)
        assert not set(edges.better[decisive].tolist()) & dropped  # what a document goes for is kept
        found |= set(edges.worse[decisive].tolist())
        assert np.count_nonzero(decisive) == len(set(edges.worse[decisive].tolist()))
    assert found == dropped


@given(GRAPHS)
def test_components_have_their_best_member_as_root(pairs: dict[tuple[int, int], float]) -> None:
    components = Components(13)
    components.join([worse for worse, _ in pairs], [better for _, better in pairs])
    members = [{document} for document in range(13)]
    for pair in pairs:
        joined = members[pair[0]] | members[pair[1]]
        for document in joined:
            members[document] = joined
    assert components.roots().tolist() == [min(group) for group in members]


def test_packed_pairs_sort_by_the_worse_document() -> None:
    worse, better = np.array([2**31, 5, 5]), np.array([0, 4, 3])
    assert [side.tolist() for side in unpack_pairs(np.sort(pack_pairs(worse, better)))] == [[5, 5, 2**31], [3, 4, 0]]
