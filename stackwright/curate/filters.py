"""Content filters: whether a file reads like something a person wrote to be read.

Each rule is a pure function of the text and a threshold; what breaks it comes back as `Fired` with the measured value
and the limit. A threshold of `None` switches a rule off, and 0 means zero. The rules and default thresholds are those of
SantaCoder's base filter (arXiv 2301.03988; FACTS B2) and the generated-file rule of The Stack v2 (arXiv 2402.19173).
Lines end at a line feed, and a carriage return before it is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stackwright.document import Fired
from stackwright.recipe import FilterSettings
from stackwright.sources.languages import generated_evidence

VERSIONS: Mapping[str, int] = {
    "line_length": 1,
    "mean_line_length": 1,
    "alphanumeric": 1,
    "generated": 1,
}
"""Rule -> version: raised when what a rule says of some text changes."""

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


def check_filters(document: Mapping[str, Any], settings: FilterSettings) -> list[Fired]:
    """Return every filter that a document of the corpus breaks, in the order of the funnel."""
    text: str = document["content"]
    fired = [
        _generated(document, settings),
        _line_length(text, settings.max_line_length),
        _mean_line_length(text, settings.max_mean_line_length),
        _alphanumeric(text, settings.min_alphanumeric_fraction),
    ]
    return [entry for entry in fired if entry is not None]


def _generated(document: Mapping[str, Any], settings: FilterSettings) -> Fired | None:
    if not (settings.drop_generated and document["is_generated"]):
        return None
    evidence = generated_evidence(document["path"], document["content"])
    return Fired("generated", VERSIONS["generated"], "generated_file", matched=evidence)


def longest_line(text: str) -> tuple[int, int, int]:
    """Return (length, start, end) of the longest line in characters."""
    best = (0, 0, 0)
    start = 0
    while True:
        end = text.find("\n", start)
        stop = len(text) if end < 0 else end
        length = stop - start - (stop > start and text[stop - 1] == "\r")
        if length > best[0]:
            best = (length, start, start + length)
        if end < 0:
            return best
        start = end + 1


def _line_length(text: str, limit: int | None) -> Fired | None:
    # A text no longer than the limit has no longer line: most files need no look at their lines.
    if limit is None or len(text) <= limit:
        return None
    length, start, end = longest_line(text)
    if length <= limit:
        return None
    return Fired("line_length", VERSIONS["line_length"], "line_too_long", value=length, limit=limit, start=start, end=end)


def mean_line_length(text: str) -> float:
    """Return the mean length of the lines in characters; line ends are not counted, nor is an empty last line."""
    num_lines = text.count("\n") + (not text.endswith("\n"))
    return (len(text) - text.count("\n") - text.count("\r\n")) / max(num_lines, 1)


def _mean_line_length(text: str, limit: float | None) -> Fired | None:
    if limit is None or (mean := mean_line_length(text)) <= limit:
        return None
    return Fired("mean_line_length", VERSIONS["mean_line_length"], "mean_line_too_long", value=mean, limit=limit)


def alphanumeric_fraction(text: str) -> float:
    """Return the share of letters and digits among all characters; 0 for empty text."""
    return len(_NOT_ALPHANUMERIC.sub("", text)) / len(text) if text else 0.0


def _alphanumeric(text: str, limit: float | None) -> Fired | None:
    if limit is None or (fraction := alphanumeric_fraction(text)) >= limit:
        return None
    return Fired("alphanumeric", VERSIONS["alphanumeric"], "too_few_alphanumeric", value=fraction, limit=limit)
