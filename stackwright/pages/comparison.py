"""Several runs side by side: what differs in their recipes, in their figures and in their scores.

In: opened runs. Out: bodies of sections. Scores are compared with their intervals, and where the runs were not scored on
the same files the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stackwright.pages import formats
from stackwright.pages.charts import Frame, Interval, figures, interval_chart
from stackwright.pages.elements import NO_HTML, Column, Html, code, element, join, paragraph, table
from stackwright.pages.evaluation import OWN_MODEL, direction_of, metrics_of, score_of, slug, title_of
from stackwright.pages.runs import Run


def comparison_body(runs: Sequence[Run]) -> Html:
    """Return the figures of the runs in columns, and their scores in one chart for each metric."""
    columns = [Column("figure"), *(Column(run.name, is_number=True) for run in runs)]
    rows = [(label, *values) for label, values in [*_figures(runs), *_scores(runs)]]
    return join(
        [
            paragraph("Each column is a run. ", element("strong", _comparable(runs))),
            table(columns, rows, caption="The runs in figures; brackets hold 95 % intervals"),
            _charts(runs),
        ]
    )


def _figures(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    def kept(run: Run, unit: str) -> Any:
        return run.counts("dataset").get("kept", {}).get(unit)

    def seconds(run: Run) -> Any:
        return run.artifacts["checkpoints"].manifest.run.get("seconds") if "checkpoints" in run.artifacts else None

    return [
        ("files in the dataset", [formats.count(kept(run, "files")) for run in runs]),
        ("text in the dataset", [formats.size(kept(run, "bytes")) for run in runs]),
        ("tokens in the dataset", [formats.count(run.counts("tokens").get("tokens")) for run in runs]),
        ("vocabulary", [formats.count(run.counts("tokenizer").get("vocab_size")) for run in runs]),
        ("parameters", [formats.count(run.counts("checkpoints").get("parameters")) for run in runs]),
        ("training steps", [formats.count(run.counts("checkpoints").get("steps")) for run in runs]),
        ("tokens trained on", [formats.count(run.counts("checkpoints").get("tokens")) for run in runs]),
        ("training time", [formats.duration(seconds(run)) for run in runs]),
    ]


def _tasks(runs: Sequence[Run]) -> dict[str, Mapping[str, Any]]:
    """Return the tasks that any run was scored on, as the first that has them describes them."""
    tasks: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        for name, task in (run.results() or {"tasks": {}})["tasks"].items():
            tasks.setdefault(name, task)
    return tasks


def _own_entry(run: Run, task: str) -> Mapping[str, Any]:
    entry: Mapping[str, Any] = (run.results() or {"tasks": {}})["tasks"].get(task, {}).get("models", {}).get(OWN_MODEL, {})
    return entry


def _scores(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    rows = []
    for name, task in _tasks(runs).items():
        for metric in metrics_of(task):
            scores = [score_of(task, _own_entry(run, name), metric) for run in runs]
            shown = [formats.NOTHING if score is None else str(score) for score in scores]
            rows.append((_title(name, metric), shown))
    return rows


def _title(task: str, metric: str) -> str:
    title, what = title_of(task), metric.replace("_", " ")
    return title if title.endswith(what) else f"{title}: {what}"


def _charts(runs: Sequence[Run]) -> Html:
    charts = []
    for name, task in _tasks(runs).items():
        for metric in metrics_of(task):
            scores = ((index, run.name, score_of(task, _own_entry(run, name), metric)) for index, run in enumerate(runs))
            rows = [Interval(label, score.value, score.low, score.high, index) for index, label, score in scores if score]
            frame = Frame(f"compared-{slug(name)}-{slug(metric)}", _title(name, metric), direction_of(task))
            charts.append(interval_chart(frame, rows, axis_label=metric.replace("_", " ")))
    return figures(*charts) if charts else NO_HTML


def _comparable(runs: Sequence[Run]) -> str:
    """Return whether the scores may be compared: they may when the runs were scored on the same files."""
    scored = [(run, results) for run in runs if (results := run.results()) is not None and results["tasks"]]
    if len(scored) < 2:
        return "Fewer than two of them have scores of this version, so there are none to compare."
    datasets = {run.artifacts["evaluation"].manifest.content["inputs"].get("dataset") for run, _ in scored}
    amounts = {(results["split"], results["num_documents"], results["num_bytes"]) for _, results in scored}
    if len(datasets) == 1 and len(amounts) == 1:
        return "They were scored on the same files, so their scores can be compared."
    return "They were not scored on the same files, so a difference between their scores can come from the files alone."


def differences_body(runs: Sequence[Run]) -> Html:
    """Return the keys of the recipes that are not the same in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run.recipe)
    differing = [key for key in keys if len({run.recipe.get(key) for run in runs}) > 1]
    if not differing:
        return paragraph("The recipes are the same.")
    columns = [Column("key"), *(Column(run.name) for run in runs)]
    rows = [(code(key), *(_value(run.recipe.get(key)) for run in runs)) for key in differing]
    same = len(keys) - len(differing)
    return join(
        [
            paragraph(
                f"Only what differs is shown; {formats.things(same, 'other key')} of the recipe are equal in all runs."
            ),
            table(columns, rows, caption="Recipe keys that differ"),
        ]
    )


def _value(value: str | None) -> Html:
    return element("em", "not set") if value is None else code(value)
