"""metrics.jsonl, the one source of what happened in training, and the plot made from it.

One line per step (`kind` "train"), one per validation ("validation") and one per checkpoint ("memory"). On resume the lines
after the step that is resumed from are cut off, so that no step stands there twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stackwright.files import write_bytes
from stackwright.pages import scales

METRICS_FILE = "metrics.jsonl"

_INK, _RAW, _SMOOTH, _VALIDATION = "#333333", "#c7d5e8", "#1f5fa8", "#c4501b"


class MetricsLog:
    """Appends lines; each is whole or, after a kill, the last one is cut off on resume."""

    def __init__(self, folder: Path, first_step: int) -> None:
        path = folder / METRICS_FILE
        kept = [line for line in read_metrics(folder) if line["step"] < first_step or _is_note_of(line, first_step)]
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode("utf-8"))
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class NoLog:
    """What the ranks write to that are not the first."""

    def write(self, line: dict[str, Any]) -> None:
        del line

    def close(self) -> None:
        pass


def _is_note_of(line: dict[str, Any], first_step: int) -> bool:
    """What is noted after n steps belongs to the checkpoint of n steps, which is resumed at step number n."""
    return bool(line["kind"] != "train" and line["step"] == first_step)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return every whole line of metrics.jsonl, none where there is no file."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break  # a kill cut the last line
    return lines


def smoothed(values: Sequence[float], weight: float = 0.95) -> list[float]:
    """Return an exponential moving average that starts without bias."""
    return [value for _, value in scales.smoothed(list(enumerate(values)), weight)]


def plot_losses(folder: Path) -> None:
    """Draw loss.png and loss.svg from metrics.jsonl: training loss above, held-out bits per byte below."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read_metrics(folder)
    train = [line for line in lines if line["kind"] == "train"]
    validation = [line for line in lines if line["kind"] == "validation"]
    if not train:
        return
    # A fixed salt and no date: equal metrics give equal files.
    with rc_context({"svg.hashsalt": "stackwright", "font.size": 10, "axes.edgecolor": _INK}):
        figure = Figure(figsize=(7.5, 5.5), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        steps, losses = [line["step"] for line in train], [line["loss"] for line in train]
        above.plot(steps, losses, color=_RAW, linewidth=0.8, label="each step")
        above.plot(steps, smoothed(losses), color=_SMOOTH, linewidth=1.8, label="moving average")
        above.set_ylabel("training loss (nats per token)")
        above.legend(frameon=False)
        scores = [line["bits_per_byte"] for line in validation]
        below.plot([line["step"] for line in validation], scores, color=_VALIDATION, marker="o", markersize=4, linewidth=1.5)
        if scores:
            last = (validation[-1]["step"], scores[-1])
            below.annotate(
                f"{scores[-1]:.3f}", last, textcoords="offset points", xytext=(-6, 8), ha="right", color=_VALIDATION
            )
        below.set_ylabel("validation bits per byte")
        below.set_xlabel("step")
        for axes in (above, below):
            axes.grid(axis="y", color="#eeeeee")
            axes.spines[["top", "right"]].set_visible(False)
        above.set_title(f"{train[-1]['tokens']:,} tokens in {len(train):,} steps", loc="left", color=_INK)
        figure.savefig(folder / "loss.png", dpi=150)
        figure.savefig(folder / "loss.svg", metadata={"Date": None})
