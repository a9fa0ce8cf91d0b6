"""Scores beside baselines, with their intervals, and what may be said from them.

In: `results.json`. Out: sections of a page, or `evaluation/results.html`. The sentence above each chart names the winner
also when it is a baseline, and says when the intervals overlap. Intervals are 95 % bootstrap intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stackwright.pages import formats
from stackwright.pages.charts import Frame, Interval, Series, figures, interval_chart, line_chart
from stackwright.pages.elements import (
    NO_HTML,
    Column,
    Html,
    Section,
    Tile,
    code,
    element,
    join,
    page,
    paragraph,
    table,
    tiles,
)

OWN_MODEL = "this model"

_TITLES = {"held_out_bits_per_byte": "Held-out bits per byte", "single_line_infilling": "Single-line infilling"}
_MEANINGS = {
    "bits_per_byte": "How many bits the model needs for one byte of code that it has not seen. Lower is better.",
    "exact_match": "Share of hidden lines that were filled in exactly as they were written. Higher is better.",
    "edit_similarity": "How close the filled-in lines are to the hidden ones: 1 is the same line. Higher is better.",
}


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval, where one was computed."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return formats.interval(self.value, self.low, self.high)

    def overlaps(self, other: Score) -> bool:
        """Return whether the intervals have a value in common; without intervals, whether the values are equal."""
        low, high = _ends(self)
        other_low, other_high = _ends(other)
        return low <= other_high and other_low <= high


def _ends(score: Score) -> tuple[float, float]:
    return (score.value if score.low is None else score.low), (score.value if score.high is None else score.high)


def evaluation_page(name: str, results: Mapping[str, Any]) -> str:
    """Return `evaluation/results.html`: the scores of the run `name`."""
    return page(f"Scores of {name}", paragraph(results["headline"], class_="lede"), evaluation_sections(results))


def evaluation_sections(results: Mapping[str, Any], key: str = "", suffix: str = "") -> list[Section]:
    """Return a section for the whole and one for each task. `key` begins every id.

    `suffix` ends every title where a page shows several runs; its navigation then has one entry for each of them.
    """
    sections = [Section(f"{key}scored", f"What was scored{suffix}", _scored(results))]
    for name, task in results["tasks"].items():
        place = f"{key}{slug(name)}"
        sections.append(Section(place, f"{title_of(name)}{suffix}", _task(place, name, task), in_navigation=not suffix))
    if results.get("checkpoints"):
        body = checkpoints_body(f"{key}progress", results["checkpoints"])
        sections.append(Section(f"{key}checkpoints", f"Scores while training{suffix}", body, in_navigation=not suffix))
    return sections


def slug(task: str) -> str:
    return task.replace("_", "-")


def title_of(task: str) -> str:
    return _TITLES.get(task, task.replace("_", " "))


def metrics_of(task: Mapping[str, Any]) -> list[str]:
    """Return the metrics of a task, the one that decides first."""
    found = dict.fromkeys(
        metric for model in task["models"].values() for metric in model if isinstance(model[metric], Mapping)
    )
    return [task["metric"], *(metric for metric in found if metric != task["metric"])]


def score_of(task: Mapping[str, Any], entry: Mapping[str, Any], metric: str) -> Score | None:
    """Return one metric of a model's entry, which holds it by name or, where there is only one, is itself the score."""
    found = entry.get(metric, entry if metric == task["metric"] and "value" in entry else None)
    if not isinstance(found, Mapping) or found.get("value") is None:
        return None
    return Score(found["value"], found.get("low"), found.get("high"))


def standing(task: Mapping[str, Any]) -> str:
    """Return what the scores say of the model: whether it wins, against what, and whether that could be chance."""
    metric = task["metric"]
    scores = {name: score_of(task, entry, metric) for name, entry in task["models"].items()}
    known = {name: score for name, score in scores.items() if score is not None and math.isfinite(score.value)}
    own = known.pop(OWN_MODEL, None)
    if own is None:
        return "The model has no score here."
    if not known:
        return f"The model scores {own}; there is no baseline to compare it with."
    sign = 1 if task["lower_is_better"] else -1
    best = min(known, key=lambda name: sign * known[name].value)
    chance = (
        " Their 95 % intervals overlap, so this comparison alone does not settle it." if own.overlaps(known[best]) else ""
    )
    if own.value == known[best].value:
        return f"The model and the best baseline, {best}, are level at {own}."
    if sign * own.value < sign * known[best].value:
        return f"The model wins with {own}; the best baseline, {best}, reaches {known[best]}.{chance}"
    ahead = [name for name in known if sign * known[name].value < sign * own.value]
    others = f" {formats.count(len(ahead))} baselines are ahead of it." if len(ahead) > 1 else ""
    return f"A baseline wins: {best} reaches {known[best]}, the model {own}.{others}{chance}"


def _scored(results: Mapping[str, Any]) -> Html:
    if not results["tasks"]:
        return paragraph(results["headline"], class_="missing")
    facts = [
        Tile("files", formats.count(results["num_documents"]), f"of the {results['split']} split"),
        Tile("repositories", formats.count(results.get("num_repositories")), "none of which was trained on"),
        Tile("text", formats.size(results["num_bytes"]), f"{formats.count(results['num_tokens'])} tokens"),
    ]
    settings = [(code(name), str(value)) for name, value in results["settings"].items()]
    shown = (
        table([Column("setting"), Column("value")], settings, caption="Settings of the evaluation") if settings else NO_HTML
    )
    lead = paragraph(
        "Every model below was scored on the same files. The range in brackets and the line through each dot is the 95 % "
        "bootstrap interval: where the value would lie if other files of this kind had been drawn."
    )
    return join([lead, tiles(facts), shown])


def _task(key: str, name: str, task: Mapping[str, Any]) -> Html:
    charts = [_metric_chart(f"{key}-{slug(metric)}", task, metric) for metric in metrics_of(task)]
    problems = f" {formats.things(task['num_problems'], 'problem')}." if "num_problems" in task else ""
    return join(
        [
            paragraph(element("strong", standing(task)), problems),
            figures(*charts),
            *(_by_language(task, metric) for metric in metrics_of(task)),
            paragraph("Task ", code(name), f", version {task['task_version']}.", class_="note"),
        ]
    )


def metric_title(metric: str) -> str:
    return metric.replace("_", " ").capitalize()


def _metric_chart(key: str, task: Mapping[str, Any], metric: str) -> Html:
    frame = Frame(key, metric_title(metric), _MEANINGS.get(metric, direction_of(task)))
    return interval_chart(frame, intervals(task, metric), axis_label=metric.replace("_", " "))


def direction_of(task: Mapping[str, Any]) -> str:
    return "Lower is better." if task["lower_is_better"] else "Higher is better."


def models_of(task: Mapping[str, Any]) -> list[str]:
    """Return the names of the models, our own first."""
    return sorted(task["models"], key=lambda name: (name != OWN_MODEL, name))


def intervals(task: Mapping[str, Any], metric: str) -> list[Interval]:
    """Return the rows of a chart: the model in colour, then the baselines in grey."""
    scored = ((name, score_of(task, task["models"][name], metric)) for name in models_of(task))
    return [
        Interval(name, score.value, score.low, score.high, 0 if name == OWN_MODEL else None)
        for name, score in scored
        if score is not None
    ]


def _by_language(task: Mapping[str, Any], metric: str) -> Html:
    languages: Mapping[str, Any] = task.get("languages", {})
    if not languages:
        return NO_HTML
    models = models_of(task)
    unit = "num_problems" if any("num_problems" in entry for entry in languages.values()) else "num_bytes"
    rows = []
    for name, entry in [("all", task), *languages.items()]:
        amount = entry.get(unit) or sum(language[unit] for language in languages.values())
        scores = (score_of(task, entry["models"].get(model, {}), metric) for model in models)
        shown = formats.size(amount) if unit == "num_bytes" else formats.count(amount)
        rows.append((name, shown, *("–" if score is None else str(score) for score in scores)))
    label = "bytes" if unit == "num_bytes" else "problems"
    columns = [Column("language"), Column(label, is_number=True), *(Column(model, is_number=True) for model in models)]
    return table(columns, rows, caption=f"{metric_title(metric)} by language. {direction_of(task)}")


def checkpoints_body(key: str, checkpoints: Sequence[Mapping[str, Any]]) -> Html:
    """Return how the scores changed from checkpoint to checkpoint."""
    metrics = [name for name in _MEANINGS if any(entry.get(name) is not None for entry in checkpoints)]
    charts = [
        line_chart(
            Frame(f"{key}-{slug(name)}", f"{metric_title(name)} by checkpoint", _MEANINGS[name]),
            [Series(name, _points(checkpoints, name), 0, "marked", _last(entry.get(name) for entry in checkpoints))],
            x_label="tokens trained on",
            y_label=name.replace("_", " "),
        )
        for name in metrics
    ]
    columns = [Column("step", True), Column("tokens", True), *(Column(name.replace("_", " "), True) for name in metrics)]
    rows = [
        (
            formats.count(entry["step"]),
            formats.count(entry["tokens"]),
            *(formats.decimal(entry.get(name)) for name in metrics),
        )
        for entry in checkpoints
    ]
    lead = paragraph("Each checkpoint that was kept, scored on the same files as the final model.")
    return join([lead, figures(*charts), table(columns, rows, caption="Scores of each checkpoint")])


def _points(checkpoints: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    values = ((entry["tokens"], entry.get(name)) for entry in checkpoints)
    return [(tokens, math.nan if value is None else value) for tokens, value in values]


def _last(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return formats.decimal(known[-1]) if known else ""
