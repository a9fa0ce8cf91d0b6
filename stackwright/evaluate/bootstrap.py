"""Intervals by resampling: how far a score would move had other files of the same kind been held out.

In: for each document what each model scored in sum, and how much the document weighs (bytes, or problems). Out: 95 %
percentile intervals (Efron & Tibshirani 1993, chapter 13) of the ratio of sums, and of its difference between two models.

A document is drawn whole. The tokens of one file, and the problems posed in it, share its author, subject and names: drawn
one by one they would count as independent and the interval would be too narrow. The difference is taken within each
resampling, where both models meet the same documents; what makes a document hard for both then cancels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from stackwright.evaluate.held_out import Row, name_of

Values = npt.NDArray[np.float64]

LEVEL = 0.95
LEAST_DOCUMENTS = 6
"""Below this nothing is told apart: even if a model wins in each of five documents, chance alone does as much in one case
of sixteen (the two-sided sign test, 2 / 2^5), which is more than 5 %."""

_BOOTSTRAP_DOMAIN = 4  # 1 to 3 are those of packing, fill-in-the-middle and the choice of documents
_BLOCK_ENTRIES = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A score with the bounds of its interval. With a single document both bounds are the score: nothing can be drawn."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Clusters:
    """Sums of each model over each document, and the weights of the documents. A score is sum / weight."""

    sums: Mapping[str, Values]
    weights: Values

    def ratios(self) -> dict[str, float]:
        """Return the score of each model over all documents."""
        return {model: float(sums.sum() / max(self.weights.sum(), 1)) for model, sums in self.sums.items()}


def cluster_by_document(rows: Iterable[Row], value: str, weight: str | None = None) -> Clusters:
    """Add up rows (one or more per document and model) by document; without `weight` every row weighs 1.

    Each model must have the same rows: the documents' weights are those of the first.
    """
    places: dict[str, int] = {}
    by_model: dict[str, list[tuple[int, float, float]]] = {}
    for row in rows:
        place = places.setdefault(name_of(row), len(places))
        entry = (place, float(row[value]), 1.0 if weight is None else float(row[weight]))
        by_model.setdefault(row["model"], []).append(entry)
    sums = {model: _totals(entries, 1, len(places)) for model, entries in by_model.items()}
    weights = {model: _totals(entries, 2, len(places)) for model, entries in by_model.items()}
    first = next(iter(weights.values()), np.zeros(0))
    assert all(np.array_equal(first, other) for other in weights.values()), "a model was scored on other documents"
    return Clusters(sums, first)


def _totals(entries: list[tuple[int, float, float]], column: int, count: int) -> Values:
    places = np.array([entry[0] for entry in entries], np.int64)
    return np.bincount(places, weights=[entry[column] for entry in entries], minlength=count).astype(np.float64)


def ratio_intervals(clusters: Clusters, samples: int, seed: int) -> dict[str, Interval]:
    """Return the score of each model with its interval."""
    drawn, values = _resampled_ratios(clusters, samples, seed), clusters.ratios()
    return {model: _interval(values[model], drawn[model]) for model in clusters.sums}


def difference_intervals(clusters: Clusters, own: str, samples: int, seed: int) -> dict[str, Interval]:
    """Return, for each other model, the score of `own` minus its score, with the interval of the paired difference."""
    drawn, values = _resampled_ratios(clusters, samples, seed), clusters.ratios()
    others = [model for model in clusters.sums if model != own]
    return {model: _interval(values[own] - values[model], drawn[own] - drawn[model]) for model in others}


def _interval(value: float, drawn: Values) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def _resampled_ratios(clusters: Clusters, samples: int, seed: int) -> dict[str, Values]:
    """Return model -> its score in each of `samples` resamplings. Equal seeds draw equal documents."""
    count = len(clusters.weights)
    table = np.stack([clusters.weights, *clusters.sums.values()], axis=1)  # [documents, 1 + models]
    block = max(_BLOCK_ENTRIES // count, 1)  # so that memory does not grow with the number of documents
    totals = []
    for number, first in enumerate(range(0, samples, block)):
        rng = np.random.Generator(np.random.Philox(key=[_BOOTSTRAP_DOMAIN << 32 | seed, number]))
        size = min(block, samples - first)
        draws = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(draws.ravel(), minlength=size * count).reshape(size, count)
        totals.append(times @ table)
    drawn = np.concatenate(totals)
    weights = np.maximum(drawn[:, 0], 1)
    return {model: drawn[:, column] / weights for column, model in enumerate(clusters.sums, start=1)}


def is_told_apart(difference: Interval, num_documents: int) -> bool:
    """Return whether the interval of a difference leaves out 0, and there are enough documents to say so."""
    return num_documents >= LEAST_DOCUMENTS and (difference.low > 0 or difference.high < 0)
