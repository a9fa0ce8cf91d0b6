"""What the command line says about removal requests: recorded, planned, applied, verified; readable at 80 columns."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from stackwright.govern.receipts import NearCopy, RemovedFile, VerifiedReceipt
from stackwright.govern.removal_plan import RemovalPlan
from stackwright.govern.requests import Request, age_days
from stackwright.removal import Removal

_STYLES = {"open": "yellow", "verified": "cyan", "refused": "red", "applied": "green"}


def _console() -> Console:
    return Console(highlight=False)


def _files(count: int) -> str:
    return f"{count:,} file" + ("" if count == 1 else "s")


def show_added(request: Request, *, is_new: bool, matched: int | None, folder: Path) -> None:
    """Say what became of a request, and how much it names."""
    console = _console()
    known = "recorded" if is_new else f"known since {request.date[:10]}, {request.state}"
    console.print(f"[bold]{request.id}[/bold] {known}: {escape(request.target)}")
    if matched == 0:
        console.print("Nothing in this run matches it now. The request is kept, and can be applied after a later build.")
    elif matched is not None:
        console.print(f"{_files(matched)} would go. Look at them, then apply:")
        console.print(f"  stackwright optout {escape(str(folder))} apply {request.id} --dry-run")


def show_requests(requests: Sequence[Request], now: datetime.datetime, *, only_open: bool) -> None:
    """Print one paragraph a request."""
    console = _console()
    if not requests:
        console.print("No request is waiting." if only_open else "No request was made.")
    for request in requests:
        days = age_days(request, now)
        age = "today" if days == 0 else f"{days} day{'' if days == 1 else 's'} old"
        style = _STYLES[request.state]
        console.print(f"[bold]{request.id}[/bold] [{style}]{request.state}[/{style}] {escape(request.target)} ({age})")
        console.print(f"  {escape(request.requester)}: {escape(request.reason)}")
        for text in (request.how and f"verified: {request.how}", request.why and f"refused: {request.why}"):
            if text:
                console.print(f"  {escape(text)}")
        if request.receipt_id:
            console.print(f"  receipt {request.receipt_id}")


def show_decided(request: Request) -> None:
    """Say what was decided."""
    _console().print(f"[bold]{request.id}[/bold] {request.state}: {escape(request.how or request.why or '')}")


def show_plan(plan: RemovalPlan, *, limit: int) -> None:
    """Print what would go and why, and what would be left for decision."""
    console = _console()
    _show_unmatched(console, plan)
    if not plan.files:
        console.print("Nothing would go.")
        return
    console.print(f"{_files(len(plan.files))} would go, {len(plan.in_dataset()):,} of them from the dataset:")
    _show_removed(console, plan.removed(()), limit)
    _show_left(console, plan.left_for_decision, limit, "would stay")


def show_removal(removal: Removal, folder: Path, *, limit: int) -> None:
    """Print what went, what is left, and where the receipt is."""
    console = _console()
    for request in removal.applied_before:
        console.print(f"{request.id} was applied already: receipt {request.receipt_id}.")
    _show_unmatched(console, removal.plan)
    if removal.receipt is None or removal.receipt_file is None:
        if not removal.applied_before and not removal.plan.unmatched:
            console.print("No request is waiting to be applied.")
        return
    receipt = removal.receipt["receipt"]
    removed = removal.plan.removed(removal.trained_on)
    used = len(removal.plan.in_dataset())
    console.print(f"\n[bold]{_files(len(removed))} taken out[/bold], {used:,} of them from the dataset:")
    _show_removed(console, removed, limit)
    _show_left(console, removal.plan.left_for_decision, limit, "stay")
    tokenizer = receipt["tokenizer"]
    if tokenizer["kept"] and tokenizer["sha256"]:
        console.print(f"\nThe tokenizer was kept; it had seen {_files(tokenizer['removed_files_seen'])} of these.")
    for checkpoint in receipt["checkpoints"]:
        seen = _files(checkpoint["files_seen"])
        console.print(f"Checkpoint {checkpoint['name']} had seen {seen} of these, in {checkpoint['samples']:,} samples.")
    console.print(f"\nReceipt: {escape(str(removal.receipt_file))}")
    console.print(f"  stackwright optout {escape(str(folder))} verify {escape(str(removal.receipt_file))}", soft_wrap=True)
    if receipt["checkpoints"]:
        console.print("Train again with `stackwright build`: its load list no longer holds the files.")


def _show_unmatched(console: Console, plan: RemovalPlan) -> None:
    for request in plan.unmatched:
        target = escape(request.target)
        console.print(f"{request.id}: nothing in this run matches {target}; the request stays {request.state}.")


def _show_removed(console: Console, removed: Sequence[RemovedFile], limit: int) -> None:
    counts = Counter(_kind(file.why) for file in removed)
    console.print("  " + ", ".join(f"{kind} {count:,}" for kind, count in counts.most_common()))
    for file in removed[:limit]:
        console.print(f"  [bold]{escape(file.repo)}@{escape(file.revision)}:{escape(file.path)}[/bold]")
        console.print(f"    {escape(file.why)}; was {escape(file.was)}")
    if len(removed) > limit:
        console.print(f"  [dim]and {len(removed) - limit:,} more; show them with --limit, or all with --json[/dim]")


def _kind(why: str) -> str:
    return why.partition(" of ")[0]


def _show_left(console: Console, copies: Sequence[NearCopy], limit: int, verb: str) -> None:
    if not copies:
        return
    console.print(f"\nNear copies that {verb}, for you to decide about ({len(copies):,}); --near-copies all takes them too:")
    for copy in copies[:limit]:
        console.print(f"  [yellow]{escape(copy.repo)}@{escape(copy.revision)}:{escape(copy.path)}[/yellow]")
        console.print(f"    Jaccard {copy.similarity} with {escape(copy.copy_of)}")
    if len(copies) > limit:
        console.print(f"  [dim]and {len(copies) - limit:,} more[/dim]")


def show_verified(verified: VerifiedReceipt) -> None:
    """Say what a receipt that holds is about, and what is left to compare."""
    console, receipt = _console(), verified.content
    console.print(f"[green]The receipt {receipt['receipt_id']} holds[/green]; {verified.note}.")
    requests = ", ".join(f"{request['id']} ({request['target']})" for request in receipt["requests"])
    console.print(f"Run {escape(receipt['run'])}, {receipt['date']}: {escape(requests)}")
    before, after = receipt["merkle"]["before"], receipt["merkle"]["after"]
    removed = _files(len(receipt["removed"]))
    console.print(f"{removed} removed; contents {before['num_ids']:,} before, {after['num_ids']:,} after.")
    console.print(f"Root after: {after['root']}")
