"""What the command line says when it is asked: why a file is in the dataset or not, and where a text comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from stackwright.attribute.index import Citation
from stackwright.attribute.render import match_rows
from stackwright.console import bytes_text
from stackwright.govern.ledger import Explanation


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


def show_explanation(explanation: Explanation) -> None:
    """Print what the ledger holds about a target."""
    console = Console(highlight=False)
    outcomes = ", ".join(f"{name} {count:,}" for name, count in explanation.verdicts.items())
    console.print(f"[bold]{escape(explanation.target)}[/bold]: {explanation.num_documents:,} files seen ({outcomes})")
    for row in explanation.documents:
        _show_document(console, row)
    hidden = explanation.num_documents - len(explanation.documents)
    if hidden > 0:
        console.print(f"[dim]and {hidden:,} more; show them with --limit, or all facts with --json[/dim]")
    if explanation.copies:
        console.print("\nCopies (→ dropped for, ~ near):")
        for edge in explanation.copies:
            console.print(f"  {escape(_edge_text(edge))}")


def _edge_text(edge: Mapping[str, Any]) -> str:
    sign = "→" if edge["decisive"] else "~"
    kind = "exact copy" if edge["kind"] == "exact" else f"near copy, Jaccard {edge['similarity']:.2f}"
    return f"{edge['repo']}:{edge['path']} {sign} {edge['other_repo']}:{edge['other_path']} ({kind})"


def _show_document(console: Console, row: Mapping[str, Any]) -> None:
    kept = row["verdict"] == "keep"
    verdict = (
        f"[green]keep[/green] (split {row['split']})" if kept else f"[red]drop[/red] at {row['stage']}: {row['reason']}"
    )
    size = "" if row["size_bytes"] is None else f", {bytes_text(row['size_bytes'])}"
    console.print(f"\n{escape(row['repo'])}@{row['revision']}:[bold]{escape(row['path'])}[/bold]")
    console.print(f"  {verdict}")
    language, license_type = row["language"] or "no known language", row["license_type"] or "not judged"
    console.print(f"  {language}{size}, licence {license_type}, id {row['content_id']}")
    for fired in row["fired"]:
        console.print(f"  - {escape(_fired_text(fired))}")


def _fired_text(fired: Mapping[str, Any]) -> str:
    parts = [f"{fired['rule']} v{fired['version']}: {fired['reason']}"]
    if fired["value"] is not None:
        limit = "" if fired["limit"] is None else f" (limit {fired['limit']:g})"
        parts.append(f"{fired['value']:g}{limit}")
    if fired["start"] is not None:
        parts.append(f"characters {fired['start']}–{fired['end']}")
    parts += [f"{name} {fired[name]}" for name in ("matched", "kept") if fired[name] is not None]
    return ", ".join(parts)
