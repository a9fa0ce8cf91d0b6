"""What `stackwright measure` draws: bars while texts are fetched, and the scores as tables, readable at 80 columns.

In: a `Report`. Out: tables on a console. Shares stand beside how many of how many they are, for some are of few texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stackwright.console import ConsoleProgress
from stackwright.measure.licenses import LicenseFinding, LicenseScores
from stackwright.measure.near_dup import NearDupScores, PairFinding
from stackwright.measure.records import LABEL_CLASSES, TextKind
from stackwright.measure.run import Report
from stackwright.measure.shares import Share

FOUND_CLASSES = ("permissive", "weak_copyleft", "copyleft", "non_free", "unknown", "none")
KIND_NAMES: dict[TextKind | None, str] = {"license_file": "licence files", "header": "headers", None: "all"}


class Bars(ConsoleProgress):
    """Progress on standard error, so that standard output holds the figures alone. Use as a context manager."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True, highlight=False))


def show_report(report: Report, *, show: bool, console: Console | None = None) -> None:
    """Print the scores of a detector, what could not be measured, and with `show` every record it got wrong."""
    console = console or Console(highlight=False)
    scores = report.scores
    part = "" if report.part == "all" else f", part {report.part}"
    if isinstance(scores, LicenseScores):
        console.print(f"[bold]Licences[/bold]: {_measured(scores, 'texts')}{part}\n", soft_wrap=True)
        _show_licenses(console, scores, show=show)
    else:
        rule = f"preset {scores.preset}, Jaccard {scores.threshold:g} and above"
        console.print(f"[bold]Near duplicates[/bold] ({rule}): {_measured(scores, 'pairs')}{part}\n", soft_wrap=True)
        _show_near_dup(console, scores, show=show)
    if report.missing:
        _show_missing(console, report)
    if scores.wrong and not show:
        console.print(f"[dim]Judged wrongly: {len(scores.wrong):,}; see them with --show or --json[/dim]")
    console.print(f"[dim]{report.texts_per_second:,.0f} texts a second of one core[/dim]")


def _measured(scores: LicenseScores | NearDupScores, unit: str) -> str:
    return f"{len(scores.findings):,} of {scores.num_records:,} labelled {unit}"


def _show_licenses(console: Console, scores: LicenseScores, *, show: bool) -> None:
    table = _score_table("texts")
    for name, score in (
        ("called permissive, and is", scores.permissive_precision),
        ("permissive, and called so", scores.permissive_recall),
        ("class is right", scores.right_class),
        ("expression is right", scores.right),
        ("names the same licences", scores.names_the_same),
    ):
        for kind, kind_name in KIND_NAMES.items():
            _add_share(table, name, kind_name, score(kind))
            name = ""
    console.print(table)
    console.print(_confusion_table(scores))
    false = [finding for finding in scores.wrong if finding.is_falsely_permissive]
    if false and not show:
        console.print(f"[red]Called permissive, and are not: {len(false):,}[/red]")
        _list(console, map(_license_line, false))
    if show and scores.wrong:
        console.print(f"Wrong in expression or class: {len(scores.wrong):,}")
        _list(console, map(_license_line, scores.wrong))


def _score_table(what: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("score")
    table.add_column(what)
    for name in ("count", "share", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _add_share(table: Table, name: str, what: str, share: Share) -> None:
    bounds = "" if share.bounds is None else f"{share.bounds[0]:.3f} to {share.bounds[1]:.3f}"
    value = "" if share.value is None else f"{share.value:.3f}"
    table.add_row(name, what, f"{share.count:,} of {share.total:,}", value, bounds)


def _confusion_table(scores: LicenseScores) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.title, table.title_justify = "Texts by labelled class (rows) and found class (columns)", "left"
    table.add_column("label", no_wrap=True)
    for name in FOUND_CLASSES:
        table.add_column(name, justify="right", no_wrap=True)
    for label in LABEL_CLASSES:
        counts = [scores.confusion[label, found] for found in FOUND_CLASSES]
        table.add_row(label, *(f"{count:,}" if count else "·" for count in counts))
    return table


def _license_line(finding: LicenseFinding) -> str:
    record = finding.record
    return (
        f"{record.member.name}\n    label {record.spdx} ({record.license_class}), "
        f"found {finding.expression} ({finding.license_class}): {finding.why}"
    )


def _show_near_dup(console: Console, scores: NearDupScores, *, show: bool) -> None:
    table = _score_table("found by")
    for name, score in (("found, and near", scores.precision), ("near, and found", scores.recall)):
        _add_share(table, name, "the steps", score("edge"))
        _add_share(table, "", "exact Jaccard", score("jaccard"))
    _add_share(table, "the two disagree", "", scores.apart)
    console.print(table)
    console.print(_pair_table("kind", scores.by_kind()))
    ranges = {f"{low:.0%} to {high:.0%}": found for (low, high), found in scores.by_changed_lines().items()}
    console.print(_pair_table("changed lines", ranges))
    if show and scores.wrong:
        console.print(f"Pairs judged wrongly: {len(scores.wrong):,}")
        _list(console, map(_pair_line, scores.wrong))


def _pair_table(what: str, rows: Mapping[str, tuple[Share, Share]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(what, no_wrap=True)
    for name in ("near, found", "95 % interval", "different, found", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, shares in rows.items():
        cells = []
        for share in shares:
            bounds = "" if share.bounds is None else f"{share.bounds[0]:.3f} to {share.bounds[1]:.3f}"
            cells += [f"{share.count:,} of {share.total:,}" if share.total else "", bounds]
        table.add_row(name, *cells)
    return table


def _pair_line(finding: PairFinding) -> str:
    record = finding.record
    jaccard = "too few tokens" if finding.jaccard is None else f"Jaccard {finding.jaccard:.3f}"
    verdict = "found as copies" if finding.is_edge else "not found"
    return (
        f"{record.first.name}\n  {record.second.name}\n    label {record.label} ({record.kind}, "
        f"{record.changed_lines:.0%} of lines differ), {verdict}, {jaccard}"
    )


def _show_missing(console: Console, report: Report) -> None:
    console.print(f"[yellow]Texts that could not be had: {len(report.missing):,}[/yellow]")
    for (archive, why), group in groupby(report.missing, key=lambda missing: (missing.member.archive, missing.why)):
        members = ", ".join(missing.member.path for missing in group)
        _list(console, [f"{archive.package} {archive.version} ({archive.file}): {why}\n    {members}"])


def _list(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(f"  {escape(line)}", soft_wrap=True)
