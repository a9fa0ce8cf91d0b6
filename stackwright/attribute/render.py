"""Matches as rows to show.

In: a text and what was found in it. Out: one row per match, of short strings; nothing is printed here.
"""

from __future__ import annotations

from dataclasses import dataclass

from stackwright.attribute.index import Citation, Match

EXCERPT_CHARACTERS = 60


@dataclass(frozen=True)
class MatchRow:
    """One match: its lines in the text, how it begins, its first origin, how many there are, and its kind."""

    lines: str
    excerpt: str
    origin: str
    license: str
    num_origins: str
    kind: str


def match_rows(text: str, citation: Citation) -> list[MatchRow]:
    """Return a row per match, in the order of the text."""
    return [_row(text, match) for match in citation.matches]


def _row(text: str, match: Match) -> MatchRow:
    shown = text[match.start : match.end]
    visible = shown.strip()
    first = text.count("\n", 0, match.start + len(shown) - len(shown.lstrip())) + 1
    last = first + visible.count("\n")
    line = " ".join(visible.split("\n", 1)[0].split())
    excerpt = line if len(line) <= EXCERPT_CHARACTERS else line[: EXCERPT_CHARACTERS - 1] + "…"
    origin = match.origins[0]
    lines = f"{origin.start_line}-{origin.end_line}" if origin.end_line > origin.start_line else f"{origin.start_line}"
    return MatchRow(
        lines=f"{first}-{last}" if last > first else f"{first}",
        excerpt=excerpt,
        origin=f"{origin.repo}@{origin.revision}:{origin.path}:{lines}",
        license=origin.license or "unknown",
        num_origins=f"{'≥ ' if match.num_origins_is_lower_bound else ''}{match.num_origins}",
        kind=match.kind,
    )
