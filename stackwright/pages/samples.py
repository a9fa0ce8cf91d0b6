"""Samples of what each rule dropped, and the few lines of text that show why.

In: ledger and cluster tables, and the corpus, which holds every admitted text as it was found. Out: samples, the same
ones every time, spread over repositories. Invariant: a text leaves this module only through the caller's redactor, which
sees the whole of it before a line is cut out: a key or an address that lies across the border of an excerpt is
redacted like any other. Without a redactor no text is shown.
"""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import duckdb
import pyarrow.parquet as pq

from stackwright.artifact import Table
from stackwright.document import DocumentKey, key_of

Redactor = Callable[[str], str | None]
"""Takes a whole text and returns it without personal data and secrets, or None when it must not be shown."""

EXCERPT_LINES = 6
DIFF_LINES = 8
LINE_CHARACTERS = 110
_DIFF_CONTEXT = 2
_DIFF_WINDOW = 40
_ELLIPSIS = "…"


def show_nothing(text: str) -> str | None:
    """The redactor when there is none: no text may be shown."""
    del text
    return None


@dataclass(frozen=True)
class Dropped:
    """A file that a rule dropped: the evidence of the rule that decided, and the other reasons that would have."""

    key: DocumentKey
    reason: str
    size_bytes: int | None
    evidence: Mapping[str, Any]
    others: tuple[str, ...]


@dataclass(frozen=True)
class Copy:
    """A file that was dropped because another is kept, and how similar they are."""

    key: DocumentKey
    kept: DocumentKey
    kind: str
    similarity: float


@dataclass(frozen=True)
class DiffLine:
    """A line of two compared files: `mark` is "-" for the kept one's, "+" for the dropped one's, " " for both."""

    mark: str
    text: str


def query(table: Table, sql: str, *values: Any) -> list[dict[str, Any]]:
    """Return the rows of a query over a table, which it names `rows`; one thread, so that ties fall the same way."""
    if not table.parts:
        return []
    with duckdb.connect(config={"threads": 1}) as database:
        parts = [str(part) for part in table.parts]
        database.read_parquet(parts, filename=True, file_row_number=True).create_view("rows")
        result = database.execute(sql, list(values))
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


# The order in which samples are drawn is a digest of the identity; of each repository one comes before a second of any.
_DRAWN = """
with dropped as (
    select repo, revision, path, {group} as grouped, md5(concat_ws(chr(10), repo, revision, path)) as draw
    from rows where {condition}
), turns as (
    select *, row_number() over (partition by grouped, repo order by draw) as turn from dropped
), picked as (
    select *, row_number() over (partition by grouped order by turn, draw) as place from turns
    qualify place <= ?
)
select rows.*, place from rows join picked using (repo, revision, path)
where {condition} and {group} = grouped order by grouped, place
"""


def dropped_samples(ledger: Table, each: int) -> dict[str, list[Dropped]]:
    """Return up to `each` files for every reason that is not about copies."""
    condition = "verdict = 'drop' and not ends_with(reason, 'duplicate')"
    samples: dict[str, list[Dropped]] = {}
    for row in query(ledger, _DRAWN.format(group="reason", condition=condition), each):
        deciding = [fired for fired in row["fired"] if fired["reason"] == row["reason"]]
        others = tuple(dict.fromkeys(fired["reason"] for fired in row["fired"] if fired["reason"] != row["reason"]))
        sample = Dropped(key_of(row), row["reason"], row["size_bytes"], deciding[0] if deciding else {}, others)
        samples.setdefault(row["reason"], []).append(sample)
    return samples


def copy_samples(clusters: Table, each: int) -> dict[str, list[Copy]]:
    """Return up to `each` dropped copies of every kind, with the copy that was kept."""
    samples: dict[str, list[Copy]] = {}
    for row in query(clusters, _DRAWN.format(group="kind", condition="decisive"), each):
        kept = (row["other_repo"], row["other_revision"], row["other_path"])
        samples.setdefault(row["kind"], []).append(Copy(key_of(row), kept, row["kind"], row["similarity"]))
    return samples


def fetch_texts(documents: Table, keys: Iterable[DocumentKey]) -> dict[DocumentKey, str]:
    """Return the texts of some documents. Of the parts only the row groups that hold them are read."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    found = query(
        documents,
        "select repo, revision, path, filename, file_row_number from rows where (repo, revision, path) in "
        "(select (repo, revision, path) from (select unnest(?) as repo, unnest(?) as revision, unnest(?) as path)) "
        "order by filename, file_row_number",
        *(list(column) for column in zip(*wanted, strict=True)),
    )
    places: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        places.setdefault(row["filename"], []).append(row)
    texts = {}
    for filename, rows in places.items():
        with pq.ParquetFile(filename) as file:
            sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
            starts = [0, *accumulate(sizes)]
            for row in rows:
                group = bisect_right(starts, row["file_row_number"]) - 1
                contents = file.read_row_group(group, columns=["content"]).column("content")
                texts[key_of(row)] = contents[row["file_row_number"] - starts[group]].as_py()
    return texts


def excerpt_of(text: str, start: int | None, redact: Redactor) -> str | None:
    """Return a few numbered lines around a place in a text, the first ones when there is no place; None: not shown.

    Long lines are cut around the place. `start` counts characters of the text as it was found.
    """
    redacted = redact(text)
    if redacted is None:
        return None
    at, column = 0, 0
    if start is not None:
        line_start = text.rfind("\n", 0, start) + 1
        column = start - line_start
        before = text[:line_start]
        # What is redacted can span lines, so the place is found by redacting what stands before it.
        at = (before if redacted == text else redact(before) or "").count("\n")
    lines = redacted.split("\n")
    first = max(0, min(at - _DIFF_CONTEXT, len(lines) - EXCERPT_LINES))
    shown = enumerate(lines[first : first + EXCERPT_LINES], first)
    return "\n".join(f"{index + 1:>5}  {clip(line, column if index == at else 0)}" for index, line in shown)


def clip(line: str, around: int = 0) -> str:
    """Return at most `LINE_CHARACTERS` characters of a line, among them the one at `around`."""
    line = line.rstrip("\r")
    if len(line) <= LINE_CHARACTERS:
        return line
    begin = max(0, min(around - LINE_CHARACTERS // 4, len(line) - LINE_CHARACTERS + 1))
    end = begin + LINE_CHARACTERS - (1 if begin else 0)
    if end < len(line):
        return (_ELLIPSIS if begin else "") + line[begin : end - 1] + _ELLIPSIS
    return _ELLIPSIS + line[begin:]


def first_difference(kept: str, dropped: str, redact: Redactor) -> list[DiffLine] | None:
    """Return the first lines in which two texts differ, with a little before them; None: not shown.

    Only a window behind the first difference is compared, so that long files cost no more than short ones.
    """
    old, new = redact(kept), redact(dropped)
    if old is None or new is None:
        return None
    old_lines, new_lines = old.split("\n"), new.split("\n")
    pairs = enumerate(zip(old_lines, new_lines))
    first = next((index for index, (a, b) in pairs if a != b), min(len(old_lines), len(new_lines)))
    begin = max(0, first - _DIFF_CONTEXT)
    window = slice(begin, begin + _DIFF_WINDOW)
    changes = list(difflib.unified_diff(old_lines[window], new_lines[window], n=_DIFF_CONTEXT, lineterm=""))
    lines = [line for line in changes[2:] if not line.startswith("@@")][:DIFF_LINES]
    return [DiffLine(line[0], clip(line[1:])) for line in lines]


def texts_for(documents: Table, samples: Iterable[Dropped], copies: Sequence[Copy]) -> dict[DocumentKey, str]:
    """Return the texts that samples are cut from; near copies need the kept file's too, exact ones neither."""
    near = [copy for copy in copies if copy.kind == "near"]
    keys = [sample.key for sample in samples] + [key for copy in near for key in (copy.key, copy.kept)]
    return fetch_texts(documents, keys)
