"""Intervals are those of the textbook, cover what they promise, and compare models document by document."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from stackwright.evaluate import bootstrap
from stackwright.evaluate.bootstrap import (
    LEAST_DOCUMENTS,
    Clusters,
    Interval,
    cluster_by_document,
    difference_intervals,
    is_told_apart,
    ratio_intervals,
)


def clusters_of(weights: list[float], **sums: list[float]) -> Clusters:
    return Clusters({model: np.array(values, np.float64) for model, values in sums.items()}, np.array(weights, np.float64))


def test_interval_agrees_with_every_resampling_counted_out() -> None:
    """Of four documents there are 4^4 equally likely resamplings: their quantiles are the exact answer."""
    sums, weights = [10.0, 2.0, 7.0, 40.0], [10.0, 4.0, 2.0, 100.0]
    drawn = [sum(sums[i] for i in draw) / sum(weights[i] for i in draw) for draw in product(range(4), repeat=4)]
    found = ratio_intervals(clusters_of(weights, a=sums), 40_000, seed=0)["a"]
    assert found.value == sum(sums) / sum(weights)
    exact = np.quantile(drawn, [0.025, 0.975])
    assert [found.low, found.high] == pytest.approx(exact, abs=0.05)


def test_score_is_a_ratio_of_sums_and_not_a_mean_of_ratios() -> None:
    found = ratio_intervals(clusters_of([1, 99], a=[10, 99]), 10, seed=0)["a"]
    assert found.value == pytest.approx(109 / 100)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for world in range(200):
        weights = rng.integers(50, 150, 40).astype(np.float64)
        sums = weights * 2 + rng.normal(0, 30, 40)
        interval = ratio_intervals(Clusters({"a": sums}, weights), 400, seed=world)["a"]
        hits += interval.low <= 2 <= interval.high
    assert 0.90 <= hits / 200 <= 0.99


def test_the_seed_decides_the_interval() -> None:
    clusters = clusters_of([1] * 20, a=list(range(20)))
    assert ratio_intervals(clusters, 50, 0) == ratio_intervals(clusters, 50, 0)
    assert ratio_intervals(clusters, 50, 0) != ratio_intervals(clusters, 50, 1)


def test_blocks_only_bound_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks draw other documents, but as many, and the interval stays where it was."""
    clusters = clusters_of([1] * 30, a=[float(value % 7) for value in range(30)])
    whole = ratio_intervals(clusters, 5000, 0)["a"]
    monkeypatch.setattr(bootstrap, "_BLOCK_ENTRIES", 100)
    cut = ratio_intervals(clusters, 5000, 0)["a"]
    assert len(bootstrap._resampled_ratios(clusters, 5000, 0)["a"]) == 5000
    assert [cut.low, cut.high] == pytest.approx([whole.low, whole.high], abs=0.1)
    assert cut != whole


def test_difference_is_paired_by_document() -> None:
    """Both models vary tenfold between documents, but one is better by 0.1 in each: only pairing sees it."""
    hard = [float(value) for value in range(1, 21)]
    clusters = clusters_of([1] * 20, own=[value - 0.1 for value in hard], other=hard)
    [difference] = difference_intervals(clusters, "own", 500, 0).values()
    assert (difference.low, difference.high) == pytest.approx((-0.1, -0.1))
    each = ratio_intervals(clusters, 500, 0)
    assert each["own"].high > each["other"].low


def test_problems_of_one_file_are_drawn_together() -> None:
    """Ten answers in each of eight files, all right or all wrong: eight facts, not eighty."""
    rows = [
        {"repo": "r", "revision": "1", "path": f"{file}", "model": "a", "right": file % 2}
        for file in range(8)
        for _ in range(10)
    ]
    interval = ratio_intervals(cluster_by_document(rows, "right"), 2000, 0)["a"]
    assert interval.value == 0.5
    assert interval.high - interval.low > 0.5  # eighty independent answers would give about 0.22


def test_one_document_says_nothing_and_no_interval_is_made_up() -> None:
    assert ratio_intervals(clusters_of([4], a=[2]), 10, 0)["a"] == Interval(0.5, 0.5, 0.5)


def test_told_apart_needs_an_interval_without_zero_and_enough_documents() -> None:
    assert is_told_apart(Interval(-1, -2, -0.5), LEAST_DOCUMENTS)
    assert is_told_apart(Interval(1, 0.5, 2), LEAST_DOCUMENTS)
    assert not is_told_apart(Interval(-1, -2, 0), LEAST_DOCUMENTS)
    assert not is_told_apart(Interval(-1, -2, -0.5), LEAST_DOCUMENTS - 1)


def test_models_scored_on_other_documents_are_our_own_mistake() -> None:
    rows = [{"repo": "r", "revision": "1", "path": path, "model": model, "x": 1} for path, model in ("aA", "bA", "aB")]
    with pytest.raises(AssertionError, match="other documents"):
        cluster_by_document(rows, "x")
