"""Training curves of one or several runs: loss, held-out bits per byte, learning rate, gradient norm, speed.

In: `metrics.jsonl` of finished checkpoints. Out: a body of charts. Every chart lays the runs over one another; raw values
are thinned to what can be seen, and their highest and lowest points stay.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackwright.pages import formats
from stackwright.pages.charts import Frame, Series, figures, line_chart
from stackwright.pages.elements import Column, Html, details, join, paragraph, table
from stackwright.pages.scales import Point, smoothed

METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True)
class Curves:
    """What one run recorded while it trained."""

    name: str
    train: Sequence[Mapping[str, Any]]
    validation: Sequence[Mapping[str, Any]]

    def points(self, field: str) -> list[Point]:
        """Return (step, value) of a field of the training lines; what is missing is not a number."""
        return [(line["step"], _value(line, field)) for line in self.train]

    def scores(self) -> list[Point]:
        return [(line["step"], _value(line, "bits_per_byte")) for line in self.validation]


def _value(line: Mapping[str, Any], field: str) -> float:
    value = line.get(field)
    return math.nan if value is None else float(value)


def read_curves(name: str, folder: Path) -> Curves:
    """Read the lines of a checkpoints folder; none where there is no file, and none after one that was cut off."""
    path = folder / METRICS_FILE
    lines: list[dict[str, Any]] = []
    for text in path.read_text("utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    by_kind = {kind: [line for line in lines if line["kind"] == kind] for kind in ("train", "validation")}
    return Curves(name, by_kind["train"], by_kind["validation"])


def training_body(runs: Sequence[Curves]) -> Html:
    """Return the charts of the runs, and the held-out scores as a table."""
    return join(
        [
            *(paragraph(_sentence(run)) for run in runs),
            figures(_loss(runs), _validation(runs)),
            figures(
                _single(runs, "lr", "Learning rate", "The schedule that was followed.", "learning rate"),
                _noisy(runs, "grad_norm", "Gradient norm", "Before clipping; a spike is a batch that surprised.", "norm"),
                _noisy(runs, "tokens_per_second", "Speed", "Tokens trained on in a second.", "tokens/s"),
            ),
            details("The held-out scores as a table", _validation_table(runs)),
        ]
    )


def _sentence(run: Curves) -> str:
    if not run.train:
        return f"{run.name} recorded no step."
    last = run.train[-1]
    parts = [
        f"{run.name} trained for {formats.things(len(run.train), 'step')} on {formats.count(last.get('tokens'))} tokens"
    ]
    losses = smoothed(run.points("loss"))
    if losses:
        parts.append(f"its loss fell from {run.points('loss')[0][1]:.2f} to {losses[-1][1]:.2f} nats per token (smoothed)")
    scores = [score for score in run.scores() if math.isfinite(score[1])]
    if scores:
        step, best = min(scores, key=lambda score: score[1])
        parts.append(f"the best held-out score was {best:.3f} bits per byte after {formats.count(step)} steps")
    return "; ".join(parts) + "."


def _end_label(run: Curves, runs: Sequence[Curves], value: str) -> str:
    return value if len(runs) == 1 else run.name


def _loss(runs: Sequence[Curves]) -> Html:
    frame = Frame(
        "loss",
        "Training loss",
        "Thin: each step. Thick: a moving average, which is what to follow. Lower is better; a flat end means that more "
        "steps of this kind would change little.",
    )
    raw = [Series(run.name, run.points("loss"), index, "raw") for index, run in enumerate(runs)]
    smooth = []
    for index, run in enumerate(runs):
        points = smoothed(run.points("loss"))
        label = _end_label(run, runs, f"{points[-1][1]:.2f}") if points else ""
        smooth.append(Series(run.name, points, index, "line", label))
    return line_chart(frame, [*raw, *smooth], x_label="step", y_label="nats per token")


def _validation(runs: Sequence[Curves]) -> Html:
    frame = Frame(
        "validation",
        "Held-out bits per byte",
        "The same files of the validation split after every so many steps. Lower is better; a rise while the training loss "
        "falls means that the model learns its data by heart.",
    )
    series = []
    for index, run in enumerate(runs):
        points = run.scores()
        label = _end_label(run, runs, f"{points[-1][1]:.3f}") if points else ""
        series.append(Series(run.name, points, index, "marked", label))
    return line_chart(frame, series, x_label="step", y_label="bits per byte")


def _frame(field: str, title: str, description: str) -> Frame:
    return Frame(f"train-{field.replace('_', '-')}", title, description)


def _single(runs: Sequence[Curves], field: str, title: str, description: str, unit: str) -> Html:
    series = [Series(run.name, run.points(field), index, "line") for index, run in enumerate(runs)]
    return line_chart(_frame(field, title, description), series, x_label="step", y_label=unit, from_zero=True)


def _noisy(runs: Sequence[Curves], field: str, title: str, description: str, unit: str) -> Html:
    """Draw a field that jumps from step to step: thin as it was, thick as a moving average."""
    raw = [Series(run.name, run.points(field), index, "raw") for index, run in enumerate(runs)]
    smooth = [Series(run.name, smoothed(run.points(field)), index) for index, run in enumerate(runs)]
    frame = _frame(field, title, f"{description} Thick: a moving average.")
    return line_chart(frame, [*raw, *smooth], x_label="step", y_label=unit, from_zero=True)


def _validation_table(runs: Sequence[Curves]) -> Html:
    scores = [dict(run.scores()) for run in runs]
    steps = sorted({step for of_run in scores for step in of_run})
    rows = [(formats.count(step), *(formats.decimal(of_run.get(step)) for of_run in scores)) for step in steps]
    columns = [Column("step", is_number=True), *(Column(run.name, is_number=True) for run in runs)]
    return table(columns, rows, caption="Bits per byte on the validation split")
