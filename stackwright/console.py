"""What the command line draws: stages, progress bars, summaries and explanations, readable at 80 columns.

On a terminal there are bars with rate and time left; elsewhere there are plain lines, a progress line every ten
seconds at most.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Task as BarTask
from rich.table import Table
from rich.text import Text

from stackwright.artifact import load_artifact
from stackwright.build import BuildObserver, StageOutcome
from stackwright.log import ResourceMeter, Task
from stackwright.pages.evaluation import metrics_of
from stackwright.recipe import Recipe, dump_recipe
from stackwright.stages import Stage

PLAIN_INTERVAL_SECONDS = 10.0


def bytes_text(count: float) -> str:
    """Return a number of bytes as people write it: `41.3 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def count_text(count: float) -> str:
    """Return a count with separators, or in millions when large."""
    return f"{count / 1e6:.2f} million" if count >= 1e6 else f"{count:,.0f}"


def duration_text(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def rate_text(rate: float, unit: str) -> str:
    """Return a rate with a decimal where it is small: `0.4 shards/s`."""
    return f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.1f} {unit}/s"


class _RateColumn(TextColumn):
    """Units a second, in the unit of the task."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: BarTask) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else rate_text(speed, task.fields["unit"]))


class _BarTask:
    def __init__(self, progress: Progress, identity: TaskID) -> None:
        self._progress, self._identity = progress, identity

    def advance(self, amount: float) -> None:
        self._progress.advance(self._identity, amount)

    def note(self, text: str) -> None:
        self._progress.update(self._identity, note=text)


class _PlainTask:
    """Progress where there is no terminal: now and then a line."""

    def __init__(self, console: Console, label: str, total: float | None, unit: str) -> None:
        self._console, self._label, self._total, self._unit = console, label, total, unit
        self._done, self._note = 0.0, ""
        self._started = self._shown = time.monotonic()

    def advance(self, amount: float) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._shown < PLAIN_INTERVAL_SECONDS or not self._total:
            return
        self._shown = now
        rate = self._done / (now - self._started)
        left = duration_text((self._total - self._done) / rate) if rate else "?"
        share = self._done / self._total
        self._console.print(
            f"  {self._label}: {share:4.0%}, {rate_text(rate, self._unit)}, {left} left {self._note}".rstrip(),
            highlight=False,
        )

    def note(self, text: str) -> None:
        self._note = text


class ConsoleProgress:
    """Progress on a console: bars on a terminal, plain lines elsewhere. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop_bars()

    def task(self, label: str, total: float | None, unit: str) -> Task:
        if not self._console.is_terminal or self._console.quiet:
            return _PlainTask(self._console, label, total, unit)
        if self._bars is None:
            self._bars = _progress_bars(self._console)
            self._bars.start()
        return _BarTask(self._bars, self._bars.add_task(label, total=total, unit=unit, note=""))

    def _stop_bars(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


class BuildConsole(ConsoleProgress, BuildObserver):
    """Draws a build while it runs and sums it up at the end. Use as a context manager."""

    def __init__(self, folder: Path, *, quiet: bool = False) -> None:
        super().__init__(Console(quiet=quiet, highlight=False, soft_wrap=not sys.stdout.isatty()))
        self._folder = folder
        self._meter = ResourceMeter()

    def __enter__(self) -> Self:
        self._meter.__enter__()
        self._console.print(f"Building [bold]{self._folder}[/bold]")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        self._meter.__exit__(kind, error, trace)

    def stage_started(self, stage: Stage, why: str) -> None:
        self._console.print(f"[cyan]…[/cyan] [bold]{stage.name}[/bold] ({why})")

    def stage_ended(self, outcome: StageOutcome) -> None:
        self._stop_bars()
        if outcome.status == "skipped":
            self._console.print(f"[dim]= {outcome.stage.name} (unchanged)[/dim]")
            return
        told = describe(outcome)
        self._console.print(
            f"[green]✓[/green] [bold]{outcome.stage.name}[/bold] {duration_text(outcome.seconds)}: {escape(told)}"
        )

    def show_summary(self, outcomes: Sequence[StageOutcome], *, as_json: bool) -> None:
        if as_json:
            print(json.dumps(self._summary_json(outcomes), indent=2, ensure_ascii=False))
            return
        ran = [outcome for outcome in outcomes if outcome.status == "ran"]
        dataset = _counts(outcomes, "curate")
        if dataset is not None and any(outcome.stage.name == "curate" for outcome in ran):
            _show_funnel(self._console, json.loads((self._folder / "dataset" / "report.json").read_text("utf-8")))
        if any(outcome.stage.name == "evaluate" for outcome in ran):
            _show_scores(self._console, json.loads((self._folder / "evaluation" / "results.json").read_text("utf-8")))
        _show_stages(self._console, outcomes)
        self._console.print(
            f"{len(ran)} of {len(outcomes)} stages ran in {duration_text(self._meter.wall_seconds)} "
            f"({self._meter.cpu_seconds / 60:.1f} CPU-minutes, peak memory {bytes_text(self._meter.peak_bytes)})"
        )
        _show_next(self._console, self._folder, outcomes)

    def _summary_json(self, outcomes: Sequence[StageOutcome]) -> dict[str, Any]:
        return {
            "run": str(self._folder),
            "wall_seconds": round(self._meter.wall_seconds, 3),
            "cpu_seconds": round(self._meter.cpu_seconds, 3),
            "peak_memory_bytes": self._meter.peak_bytes,
            "stages": [_outcome_json(outcome) for outcome in outcomes],
        }


def _progress_bars(console: Console) -> Progress:
    return Progress(
        TextColumn("  {task.description:<10}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
        _RateColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )


def _outcome_json(outcome: StageOutcome) -> dict[str, Any]:
    manifest = outcome.manifest
    return {
        "stage": outcome.stage.name,
        "status": outcome.status,
        "why": outcome.why,
        "seconds": round(outcome.seconds, 3),
        "digest": None if manifest is None else manifest.digest,
        "counts": {} if manifest is None else dict(manifest.counts),
    }


def _counts(outcomes: Sequence[StageOutcome], name: str) -> Mapping[str, Any] | None:
    for outcome in outcomes:
        if outcome.stage.name == name and outcome.manifest is not None:
            return outcome.manifest.counts
    return None


def describe(outcome: StageOutcome) -> str:
    """Return what a stage made in one line, from the counts in its manifest."""
    assert outcome.manifest is not None
    counts = outcome.manifest.counts
    match outcome.stage.name:
        case "collect":
            return (
                f"{count_text(counts['documents'])} files ({bytes_text(counts['bytes'])}) of "
                f"{counts['repositories']} repositories, {count_text(counts['refused'])} files not admitted"
            )
        case "curate":
            kept, seen = counts["kept"], counts["seen"]
            return (
                f"kept {count_text(kept['files'])} of {count_text(seen['files'])} files ({bytes_text(kept['bytes'])}), "
                f"{count_text(sum(counts['redactions'].values()))} redactions"
            )
        case "tokenizer":
            return f"{counts['vocab_size']:,} tokens, {counts['characters_per_token']:.2f} characters per token"
        case "tokens":
            return f"{count_text(counts['tokens'])} tokens of {count_text(counts['documents'])} files"
        case "index":
            size = sum(record["bytes"] for record in outcome.manifest.content["files"].values())
            return (
                f"{count_text(counts['postings'])} fingerprints of {count_text(counts['documents'])} files "
                f"({bytes_text(size)} for {bytes_text(counts['bytes'])} of text)"
            )
        case "train":
            score = counts["validation_bits_per_byte"]
            held_out = "nothing held out" if score is None else f"validation {score:.3f} bits per byte"
            return (
                f"{count_text(counts['parameters'])} parameters, {count_text(counts['tokens'])} tokens in "
                f"{counts['steps']} steps, {held_out}"
            )
        case "evaluate":
            return str(counts["headline"])
        case _:
            return f"{counts['revisions']} checkpoints as revisions, dataset of {counts['languages']} languages"


def _show_stages(console: Console, outcomes: Sequence[StageOutcome]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Run", title_justify="left")
    table.add_column("stage")
    table.add_column("what it made", overflow="fold")
    table.add_column("time", justify="right", no_wrap=True)
    for outcome in outcomes:
        skipped = outcome.status == "skipped"
        table.add_row(
            outcome.stage.name,
            escape(describe(outcome)),
            "unchanged" if skipped else duration_text(outcome.seconds),
            style="dim" if skipped else None,
        )
    console.print(table)


def _show_funnel(console: Console, report: Mapping[str, Any]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Which files are used, and why not", title_justify="left")
    table.add_column("reason")
    for name in ("files", "size"):
        table.add_column(name, justify="right")
    table.add_row("seen", f"{report['seen']['files']:,}", bytes_text(report["seen"]["bytes"]), style="bold")
    for reason, entry in sorted(report["reasons"].items(), key=lambda item: (-item[1]["files"], item[0])):
        table.add_row(f"− {reason}", f"{entry['files']:,}", bytes_text(entry["bytes"]))
    table.add_row("kept", f"{report['kept']['files']:,}", bytes_text(report["kept"]["bytes"]), style="bold green")
    console.print(table)
    console.print(_language_table(report["languages"]))


def _language_table(languages: Mapping[str, Any], most: int = 12) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="By language", title_justify="left")
    table.add_column("language")
    for name in ("seen", "kept", "kept size"):
        table.add_column(name, justify="right")
    table.add_column("dropped most for", overflow="fold")
    ranked = sorted(languages.items(), key=lambda item: (-item[1]["kept"]["bytes"], -item[1]["seen"]["files"], item[0]))
    for name, entry in ranked[:most]:
        dropped = sorted(entry["dropped"].items(), key=lambda item: (-item[1]["files"], item[0]))
        why = ", ".join(f"{reason} {counts['files']:,}" for reason, counts in dropped[:2])
        table.add_row(
            name, f"{entry['seen']['files']:,}", f"{entry['kept']['files']:,}", bytes_text(entry["kept"]["bytes"]), why
        )
    if len(ranked) > most:
        table.caption = f"and {len(ranked) - most} more: dataset/report.json"
        table.caption_justify = "left"
    return table


def _show_scores(console: Console, results: Mapping[str, Any]) -> None:
    """Print each score of each model with its interval; nothing when nothing was held out."""
    if not results["tasks"]:
        return
    title = f"Scores on {results['num_documents']:,} files of {results['num_repositories']:,} held-out repositories"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for name in ("score", "model"):
        table.add_column(name)
    for name in ("value", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for task in results["tasks"].values():
        for metric in metrics_of(task):
            name = metric.replace("_", " ")
            for model, scores in task["models"].items():
                score = scores.get(metric, scores)
                bounds = f"{score['low']:.3f} to {score['high']:.3f}"
                table.add_row(name, model, f"{score['value']:.3f}", bounds, style="bold" if name else None)
                name = ""
    console.print(table)


def _some_repository(folder: Path) -> str:
    """Return a repository of the run for the example: the last by name."""
    return str(load_artifact(folder / "corpus").table("repositories").read(["repo"]).column("repo")[-1])


def _show_next(console: Console, folder: Path, outcomes: Sequence[StageOutcome]) -> None:
    names = {outcome.stage.name for outcome in outcomes}
    commands = []
    if "train" in names:
        commands.append((f"stackwright generate {folder} 'def mean(values):'", "continue some code"))
        commands.append((f"stackwright generate {folder} 'def ' --suffix '(self):'", "fill a gap"))
    if "curate" in names:
        commands.append((f"stackwright explain {folder} {_some_repository(folder)}", "why files are in or out"))
    if "index" in names:
        commands.append((f"stackwright cite {folder} FILE", "where a text comes from"))
    if "train" in names:
        commands.append((f"stackwright report {folder}", "data, training and scores on one page"))
    if commands:
        console.print("\nNext:")
        for command, why in commands:
            console.print(f"  [bold]{escape(command)}[/bold]  [dim]# {why}[/dim]", soft_wrap=True)


def show_plan(recipe: Recipe, folder: Path, outcomes: Sequence[StageOutcome], *, as_json: bool) -> None:
    """Print the resolved recipe and what each stage would do."""
    if as_json:
        value = {
            "run": str(folder),
            "recipe": recipe.model_dump(mode="json"),
            "stages": [_outcome_json(o) for o in outcomes],
        }
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    print(dump_recipe(recipe))
    print(f"# what `stackwright build` would do in {folder}")
    for outcome in outcomes:
        print(f"#   {outcome.stage.name:<10} {outcome.status}: {outcome.why}")
