"""Requests to take code out, as a report shows them: what is asked for, since when, and what became of it.

In: the requests of each run, with their age, which the caller knows (no clock is read here). Out: the body of a section.
Who asked and why stays out of it: a report is handed around.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stackwright.pages import formats
from stackwright.pages.elements import Column, Html, code, join, paragraph, table


@dataclass(frozen=True)
class RemovalRequest:
    """A request as others may see it. `date` is UTC, as ISO 8601; `receipt_id` is that of the latest removal."""

    id: str
    target: str
    state: str
    date: str
    age_days: int
    receipt_id: str | None = None

    @property
    def is_pending(self) -> bool:
        """Whether it still waits."""
        return self.state in ("open", "verified")


RequestsOf = Callable[[Path], Sequence[RemovalRequest]]
"""Takes a run folder and returns its requests, the oldest first."""


def requests_body(requests: Mapping[str, Sequence[RemovalRequest]]) -> Html:
    """Return the section about the requests of one or several runs, by the run's name."""
    parts = []
    for name, found in requests.items():
        lead = f"{name}: " if len(requests) > 1 else ""
        parts += _one_run(lead, found)
    return join(parts)


def not_looked_up() -> Html:
    """Return the section of a page that was made without asking for the requests."""
    return paragraph("The requests were not looked up: this page was made without them.", class_="missing")


def _one_run(lead: str, requests: Sequence[RemovalRequest]) -> list[Html]:
    if not requests:
        return [paragraph(f"{lead}None: nobody has asked for code to be taken out.")]
    pending = [request for request in requests if request.is_pending]
    applied = [request for request in requests if request.state == "applied"]
    refused = len(requests) - len(pending) - len(applied)
    parts = [paragraph(f"{lead}{_summary(pending, len(applied), refused)}")]
    if pending:
        columns = [Column("request"), Column("target"), Column("asked for on"), Column("age in days", True), Column("state")]
        rows = [
            (code(one.id), code(one.target), one.date[:10], formats.count(one.age_days), one.state)
            for one in sorted(pending, key=lambda request: (request.date, request.id))
        ]
        parts.append(table(columns, rows, caption=f"{lead}requests that wait, the oldest first"))
    if applied:
        columns = [Column("request"), Column("target"), Column("asked for on"), Column("receipt")]
        cells = [(code(one.id), code(one.target), one.date[:10], code(one.receipt_id or formats.NOTHING)) for one in applied]
        parts.append(table(columns, cells, caption=f"{lead}requests that were applied, and their receipts"))
    return parts


def _summary(pending: Sequence[RemovalRequest], applied: int, refused: int) -> str:
    since = f" (the oldest for {formats.things(max(one.age_days for one in pending), 'day')})" if pending else ""
    waiting, taken_out, turned_down = map(formats.count, (len(pending), applied, refused))
    return f"Waiting: {waiting}{since}. Applied: {taken_out}. Refused: {turned_down}."
