"""What the command line says when it is asked: why a file is in the dataset or not, and where a text comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from stackwright.attribute.index import Citation
from stackwright.attribute.render import match_rows
from stackwright.console import bytes_text
from stackwright.document import document_name
from stackwright.explanation import NOTES, RunExplanation
from stackwright.pages.elements import visible
from stackwright.pages.formats import measured, things
from stackwright.pages.requests import RemovalRequest

MOST_NAMES = 6
"""Names in one fact; --json has them all."""

MOST_CHECKPOINTS = 6

LICENSE_TYPES: Mapping[str | None, str] = {
    "permissive": "licence permissive",
    "non_permissive": "licence not permissive",
    "no_license": "no licence",
    None: "licence not judged",
}

KEPT_INSTEAD, DROPPED_FOR_IT = "kept instead", "dropped for it"

Fact = tuple[str, str]
"""A label, and what it says, with markup."""


def show_citation(text: str, citation: Citation, *, limit: int) -> None:
    """Print the matches of a text, or why there is none."""
    console = Console(highlight=False)
    if not citation.matches:
        if citation.num_characters < citation.least_span:
            why = (
                f"it has {citation.num_characters} characters without spare white space, {citation.least_span} are the least"
            )
        else:
            why = f"no span of {citation.least_span} characters or more stands in the dataset"
        console.print(f"No origin found: {why}.")
        return
    rows = match_rows(text, citation)
    for row in rows[:limit]:
        console.print(f"[bold]line {row.lines}[/bold]: {row.kind} in {row.num_origins} file(s)")
        console.print(f"  {escape(row.excerpt)}", style="cyan")
        console.print(f"  {escape(row.origin)}, licence {escape(row.license)}")
    if len(rows) > limit:
        console.print(f"[dim]and {len(rows) - limit:,} more matches; show them with --limit, or all with --json[/dim]")
    if not citation.is_complete:
        console.print("[yellow]The text is so long or repetitive that the search was stopped: there may be more.[/yellow]")


def show_explanation(explanation: RunExplanation) -> None:
    """Print everything that a run knows about a target."""
    console = Console(highlight=False)
    is_alone = explanation.kind == "document" and explanation.num_documents == 1
    if not is_alone:
        seen = things(explanation.num_documents, "file")
        console.print(f"[bold]{escape(explanation.target)}[/bold]: {seen} seen")
        _print_facts(console, _overview(explanation))
    for number, row in enumerate(explanation.documents):
        if number or not is_alone:
            console.print()
        console.print(f"[bold]{escape(visible(_name(row)))}[/bold]")
        _print_facts(console, _document_facts(row, explanation, is_alone=is_alone))
    hidden = explanation.num_documents - len(explanation.documents)
    if hidden > 0:
        console.print(f"\n[dim]and {things(hidden, 'more file')}; show them with --limit, or all with --json[/dim]")
    if explanation.requests:
        console.print("\nRemoval requests that reach this:")
        _print_facts(console, [(request.id, _request_text(request)) for request in explanation.requests])


def _print_facts(console: Console, facts: Iterable[Fact]) -> None:
    """Print labelled facts; a long one goes on to the right of its label."""
    facts = list(facts)
    width = max((len(label) for label, _ in facts), default=0)
    for label, fact in facts:
        for line in Text.from_markup(visible(fact), overflow="fold").wrap(console, console.width - width - 4):
            line.rstrip()
            console.print(Text(f"  {label:<{width}}  ", style="dim").append_text(line), soft_wrap=True)
            label = ""


def _overview(explanation: RunExplanation) -> Iterator[Fact]:
    """Yield what holds of all files of the target."""
    totals, verdicts = explanation.totals, dict(explanation.verdicts)
    if explanation.kind == "repository":
        for row in explanation.repositories:
            yield "source", escape(f"{row['source']}, revision {row['revision']}, declares {_declared(row)}")
    if kept := verdicts.pop("keep", 0):
        yield "kept", f"[green]{kept:,}[/green] ({_counts(totals['splits'])})"
    if verdicts:
        yield "dropped", f"[red]{sum(verdicts.values()):,}[/red] ({_counts(verdicts)})"
    if totals["redactions"]:
        yield "redacted", f"{_counts(totals['redactions'])}, in the files that are kept"
    if totals["dropped_for"]:
        yield KEPT_INSTEAD, f"files of {_counts(totals['dropped_for'])}"
    if totals["kept_for"]:
        yield DROPPED_FOR_IT, f"files of {_counts(totals['kept_for'])}"
    yield "training", _training_of_all(explanation)


def _declared(row: Mapping[str, Any]) -> str:
    if row["declared_license"] is None:
        return "no licence"
    return f"{row['declared_license']} ({row['license_origin']})"


def _counts(counts: Mapping[str, int]) -> str:
    """Return names with their numbers, a few of them."""
    shown = [f"{escape(name)} {count:,}" for name, count in list(counts.items())[:MOST_NAMES]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f", and {more:,} more" if more > 0 else "")


def _training_of_all(explanation: RunExplanation) -> str:
    totals, note = explanation.totals, NOTES[explanation.training]
    if totals["sampled"] is None:
        return note
    seen = [f"step {entry['step']:,}: {things(entry['files'], 'file')}" for entry in totals["checkpoints"]]
    told = f"{things(totals['files_sampled'], 'file')} sampled {things(totals['sampled'], 'time')}; {_few(seen)}"
    return _noted(told if seen else "no checkpoint has seen any of these files", note)


def _noted(told: str, note: str) -> str:
    return f"{told} ({note})" if note else told


def _few(entries: Sequence[str]) -> str:
    """Return entries, the first and the last ones where there are many."""
    if len(entries) <= MOST_CHECKPOINTS:
        return ", ".join(entries)
    half = MOST_CHECKPOINTS // 2
    return ", ".join([*entries[:half], "…", *entries[-half:]])


def _name(row: Mapping[str, Any]) -> str:
    return document_name(row["repo"], row["revision"], row["path"])


def _document_facts(row: Mapping[str, Any], explanation: RunExplanation, *, is_alone: bool) -> Iterator[Fact]:
    if row["verdict"] == "keep":
        yield "verdict", f"[green]kept[/green], split {row['split']}"
    else:
        where = "never admitted" if row["stage"] == "collect" else "dropped"
        yield "verdict", f"[red]{where}[/red]: {escape(row['reason'])}"
    if row["deciding"] is not None:
        yield "decided by", escape(_fired_text(row["deciding"]))
    for number, fired in enumerate(row["also_fired"]):
        yield "" if number else "also fired", escape(_fired_text(fired))
    if row["redactions"]:
        yield "redacted", _counts(row["redactions"])
    yield "file", escape(_file_text(row))
    yield "content id", row["content_id"] or "none: its bytes were not read"
    yield from _copy_facts(row)
    note = NOTES[explanation.training] if is_alone else ""  # of several files it was said once
    if row["sampled"] is not None or note:
        yield "training", _training_of(row, note)


def _file_text(row: Mapping[str, Any]) -> str:
    parts = [row["language"] or "no known language"]
    if row["size_bytes"] is not None:
        parts.append(bytes_text(row["size_bytes"]))
    named = f" ({', '.join(row['detected_licenses'])})" if row["detected_licenses"] else ""
    return f"{', '.join(parts)}; {LICENSE_TYPES[row['license_type']]}{named}; source {row['source']}"


def _copy_facts(row: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield the copies of a file: the one that is kept for it, those it is kept for, and those that decided nothing."""
    if row["copy_of"] is not None:
        yield KEPT_INSTEAD, escape(_copy_text(row["copy_of"]))
    for label, copies, number in (
        (DROPPED_FOR_IT, row["copies"], row["num_copies"]),
        ("similar", row["similar"], row["num_similar"]),
    ):
        for index, copy in enumerate(copies[:MOST_NAMES]):
            yield "" if index else label, escape(_copy_text(copy))
        if number > MOST_NAMES:
            yield "", f"and {number - MOST_NAMES:,} more"


def _copy_text(copy: Mapping[str, Any]) -> str:
    kind = "equal bytes" if copy["kind"] == "exact" else f"near, Jaccard {copy['similarity']:.2f}"
    return f"{_name(copy)} ({kind})"


def _training_of(row: Mapping[str, Any], note: str) -> str:
    if row["sampled"] is None:
        return note
    seen = [f"step {entry['step']:,}: {entry['times']:,}" for entry in row["checkpoints"]]
    told = f"sampled {things(row['sampled'], 'time')}; times by checkpoint: {_few(seen)}"
    return _noted(told if seen else "never sampled", note)


def _request_text(request: RemovalRequest) -> str:
    age = things(request.age_days, "day")
    receipt = f", receipt {request.receipt_id}" if request.receipt_id else ""
    return escape(f"{request.state}, made {age} ago for {request.target}{receipt}")


def _fired_text(fired: Mapping[str, Any]) -> str:
    parts = [f"{fired['rule']} v{fired['version']}: {fired['reason']}"]
    if fired["value"] is not None:
        limit = "" if fired["limit"] is None else f" (limit {measured(fired['limit'])})"
        parts.append(f"{measured(fired['value'])}{limit}")
    if fired["start"] is not None:
        parts.append(f"characters {fired['start']:,} to {fired['end']:,}")
    if fired["matched"] is not None:
        parts.append(fired["matched"])
    return ", ".join(parts)
