"""scores.png and scores.svg: the scores of every checkpoint, with what they have to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from stackwright.evaluate.bits_per_byte import TASK
from stackwright.evaluate.infilling import TASK as INFILLING_TASK

_INK, _MODEL, _BASELINE = "#333333", "#1f5fa8", "#8a5a00"

CLOSE = 0.12
"""Two baselines nearer than this share of all the baselines' spread would have their labels on top of one another."""


def plot_scores(folder: Path, results: Mapping[str, Any]) -> None:
    """Draw the `checkpoints` of results: bits per byte above, infilling exact match below where there are problems."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines: Sequence[Mapping[str, Any]] = results["checkpoints"]
    if not lines:
        return
    part = results["checkpoint_part"]
    panels = [("bits_per_byte", "bits per byte (lower is better)", part["baselines"][TASK])]
    if part["num_problems"]:
        panels.append(("exact_match", "lines infilled exactly", part["baselines"][INFILLING_TASK]))
    # A fixed salt and no date: equal results give equal files.
    with rc_context({"svg.hashsalt": "stackwright", "font.size": 10, "axes.edgecolor": _INK}):
        figure = Figure(figsize=(7.5, 1 + 2.6 * len(panels)), layout="constrained")
        FigureCanvasAgg(figure)
        drawn = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (key, label, baselines) in zip(drawn, panels, strict=True):
            _draw_panel(axes, lines, key, label, baselines)
        drawn[-1].set_xlabel("step")
        drawn[0].set_title(_title(part), loc="left", color=_INK, fontsize=10)
        figure.savefig(folder / "scores.png", dpi=150)
        figure.savefig(folder / "scores.svg", metadata={"Date": None})


def _title(part: Mapping[str, Any]) -> str:
    problems = f" and {part['num_problems']} lines to infill" if part["num_problems"] else ""
    return f"each checkpoint on {part['num_documents']} held-out files ({part['num_bytes']:,} bytes){problems}"


def _draw_panel(axes: Any, lines: Sequence[Mapping[str, Any]], key: str, label: str, baselines: Mapping[str, float]) -> None:
    steps, values = [line["step"] for line in lines], [line[key] for line in lines]
    axes.plot(steps, values, color=_MODEL, marker="o", markersize=4, linewidth=1.8)
    axes.annotate(
        f"{values[-1]:.3f}", (steps[-1], values[-1]), textcoords="offset points", xytext=(0, 7), ha="center", color=_MODEL
    )
    for place, (name, value) in zip(_label_places(list(baselines.values())), baselines.items(), strict=True):
        axes.axhline(value, color=_BASELINE, linewidth=1.0, linestyle="--")
        axes.annotate(
            f"{name} {value:.3f}",
            (0.01, value),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            xytext=(0, 3 if place > 0 else -11),
            color=_BASELINE,
            fontsize=8,
        )
    axes.set_ylabel(label)
    axes.margins(x=0.1, y=0.15)
    if key == "exact_match":  # a share: its axis begins at 0 and does not blow up noise about it
        axes.set_ylim(0, max(0.05, 1.2 * max([*values, *baselines.values()])))
    axes.grid(axis="y", color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)


def _label_places(values: Sequence[float]) -> list[int]:
    """Return for each line whether its label stands above (1) or below (-1): of two close lines the lower goes below."""
    places = [1] * len(values)
    order = sorted(range(len(values)), key=lambda number: values[number])
    spread = max(values, default=0.0) - min(values, default=0.0)
    for lower, upper in pairwise(order):
        if values[upper] - values[lower] < CLOSE * spread:
            places[lower] = -1
    return places
