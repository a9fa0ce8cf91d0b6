"""From scores of documents to `results.json`: values, intervals, and what may be said of them in one sentence.

In: rows of the tables `scores` and `infilling`. Out: one JSON object. Everything in it can be computed again from the two
tables and the settings that it names. "Beats" and "loses to" are said only where the interval of the paired difference
leaves out 0; anything else is "not told apart from".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stackwright.evaluate import bits_per_byte, infilling
from stackwright.evaluate.bits_per_byte import MODEL
from stackwright.evaluate.bootstrap import (
    LEAST_DOCUMENTS,
    LEVEL,
    Clusters,
    Interval,
    cluster_by_document,
    difference_intervals,
    is_told_apart,
    ratio_intervals,
)
from stackwright.evaluate.completions import CompletionRecord
from stackwright.evaluate.held_out import Row, name_of

INFILLING_METRICS = ("exact_match", "edit_similarity")

NOTHING_HELD_OUT = "no held-out documents: every repository of this run is in the training split"


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn."""

    samples: int
    seed: int

    def intervals(self, clusters: Clusters) -> dict[str, dict[str, float]]:
        return {model: value.to_json() for model, value in ratio_intervals(clusters, self.samples, self.seed).items()}

    def differences(self, clusters: Clusters) -> dict[str, dict[str, float]]:
        differences = difference_intervals(clusters, MODEL, self.samples, self.seed)
        return {model: value.to_json() for model, value in differences.items()}


def build_results(
    scores: Sequence[Row],
    infills: Sequence[Row],
    records: Sequence[CompletionRecord],
    split: str,
    resampling: Resampling,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the results without the checkpoints. `infills` and `records` are empty where nothing was infilled."""
    own = [row for row in scores if row["model"] == MODEL]
    tasks = {bits_per_byte.TASK: _bits_task(scores, resampling)}
    if infills:
        tasks[infilling.TASK] = _infilling_task(infills, records, resampling)
    return {
        "split": split,
        "headline": headline_of(tasks),
        "settings": {
            "seed": resampling.seed,
            "bootstrap_samples": resampling.samples,
            "interval": LEVEL,
            "least_documents": LEAST_DOCUMENTS,
            **settings,
        },
        "num_documents": len(own),
        "num_bytes": sum(row["num_bytes"] for row in own),
        "num_tokens": sum(row["num_tokens"] for row in own),
        "num_repositories": len({row["repo"] for row in own}),
        "tasks": tasks,
        "checkpoints": [],
    }


def nothing_held_out(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of a run that holds nothing out."""
    counts = dict.fromkeys(("num_documents", "num_bytes", "num_tokens", "num_repositories"), 0)
    empty: dict[str, Any] = {"tasks": {}, "checkpoints": []}
    return {"split": "none", "headline": NOTHING_HELD_OUT, "settings": dict(settings), **counts, **empty}


def _bits_task(scores: Sequence[Row], resampling: Resampling) -> dict[str, Any]:
    clusters = cluster_by_document(scores, "bits", "num_bytes")
    languages = {}
    for language, rows in _by_language(scores).items():
        own = [row for row in rows if row["model"] == MODEL]
        languages[language] = {
            "num_documents": len(own),
            "num_bytes": sum(row["num_bytes"] for row in own),
            "models": resampling.intervals(cluster_by_document(rows, "bits", "num_bytes")),
        }
    return {
        "task_version": bits_per_byte.TASK_VERSION,
        "metric": "bits_per_byte",
        "lower_is_better": True,
        "num_documents": len(clusters.weights),
        "models": resampling.intervals(clusters),
        "differences": resampling.differences(clusters),
        "languages": languages,
    }


def _infilling_task(infills: Sequence[Row], records: Sequence[CompletionRecord], resampling: Resampling) -> dict[str, Any]:
    return {
        "task_version": infilling.TASK_VERSION,
        "metric": "exact_match",
        "lower_is_better": False,
        **_infilling_entry(infills, resampling),
        "differences": _by_metric(infills, resampling.differences),
        "finish_reasons": dict(sorted(Counter(record.finish_reason for record in records).items())),
        "languages": {language: _infilling_entry(rows, resampling) for language, rows in _by_language(infills).items()},
    }


def _infilling_entry(rows: Sequence[Row], resampling: Resampling) -> dict[str, Any]:
    return {
        "num_problems": sum(row["model"] == MODEL for row in rows),
        "num_documents": len({name_of(row) for row in rows}),
        "models": _by_metric(rows, resampling.intervals),
    }


def _by_metric(rows: Sequence[Row], intervals_of: Any) -> dict[str, dict[str, dict[str, float]]]:
    """Return model -> metric -> interval."""
    by_model: dict[str, dict[str, dict[str, float]]] = {}
    for metric in INFILLING_METRICS:
        for model, interval in intervals_of(cluster_by_document(rows, metric)).items():
            by_model.setdefault(model, {})[metric] = interval
    return by_model


def _by_language(rows: Sequence[Row]) -> dict[str, list[Row]]:
    languages: dict[str, list[Row]] = {}
    for row in rows:
        languages.setdefault(row["language"], []).append(row)
    return dict(sorted(languages.items()))


def headline_of(tasks: Mapping[str, Any]) -> str:
    """Return one sentence: each score with its interval, what it beats, what beats it, and what cannot be told apart."""
    bits = tasks[bits_per_byte.TASK]
    parts = _told(bits, "bits per byte on held-out repositories", bits["models"], bits["differences"])
    if infilling.TASK in tasks:
        infills = tasks[infilling.TASK]
        labels = {
            "exact_match": f"of {infills['num_problems']:,} lines infilled exactly",
            "edit_similarity": "edit similarity",
        }
        for metric, label in labels.items():
            models = {model: metrics[metric] for model, metrics in infills["models"].items()}
            differences = {model: metrics[metric] for model, metrics in infills["differences"].items()}
            parts += _told(infills, label, models, differences)
    return "; ".join(parts)


def _told(
    task: Mapping[str, Any], label: str, models: Mapping[str, Any], differences: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Return the model's score and the verdicts on the others."""
    count = task["num_documents"]
    named: dict[str, list[str]] = {"beats": [], "loses to": [], "not told apart from": []}
    for model, bounds in differences.items():
        difference = Interval(**bounds)
        if not is_told_apart(difference, count):
            verdict = "not told apart from"
        else:
            verdict = "beats" if (difference.value < 0) == task["lower_is_better"] else "loses to"
        named[verdict].append(f"{model} {models[model]['value']:.3f}")
    shown = f"{models[MODEL]['value']:.3f}{_bounds(models[MODEL], count)} {label}"
    return [shown, *(f"{verdict} {', '.join(others)}" for verdict, others in named.items() if others)]


def _bounds(interval: Mapping[str, float], num_documents: int) -> str:
    return f" [{interval['low']:.3f}, {interval['high']:.3f}]" if num_documents >= LEAST_DOCUMENTS else ""
