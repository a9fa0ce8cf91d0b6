"""The part of the data that was dropped as copies of other files: how many, how similar, and how they differ.

In: the table of duplicate edges, what the report says of near deduplication, and the texts of a few pairs. Out: HTML.
A dropped file has one decisive edge, to the file that was kept for it; only those are counted as drops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from stackwright.artifact import Table
from stackwright.document import CLUSTERS, DocumentKey, document_name
from stackwright.pages import formats
from stackwright.pages.charts import Bar, Frame, bar_chart, figures
from stackwright.pages.elements import NO_HTML, Column, Html, code, details, element, join, paragraph, table
from stackwright.pages.samples import Copy, DiffLine, Redactor, first_difference, query

MOST_COPIED = 8
_BANDS = 20  # similarities are counted in twentieths

_STATISTICS = {
    "signed": "files long enough to be compared",
    "too_short": "files too short to be compared",
    "candidates": "pairs that looked alike and were compared in full",
    "edges": "pairs found similar enough",
    "components": "groups that these pairs form",
    "largest_component": "files in the largest group",
    "crowded_buckets": "buckets too full to compare every pair in",
    "dropped": "files dropped as near duplicates",
}


def is_current(clusters: Table) -> bool:
    """Return whether the table has the columns of this version; an older one is said to be old, not misread."""
    return all(set(CLUSTERS.names) <= set(pq.read_schema(part).names) for part in clusters.parts)


def duplicates_body(
    key: str,
    report: Mapping[str, Any],
    clusters: Table,
    copies: Sequence[Copy],
    texts: Mapping[DocumentKey, str],
    redact: Redactor,
) -> Html:
    """Return the section about copies. `key` keeps ids apart when a page shows several datasets."""
    if not is_current(clusters):
        return paragraph(
            "The table of duplicates was written by an older version: build again to see it here.", class_="missing"
        )
    dropped = {row["kind"]: row["files"] for row in query(clusters, _COUNTS)}
    if not dropped:
        return join([paragraph("No file was dropped as a copy of another."), _near_dedup(report)])
    total = sum(dropped.values())
    exact, near = dropped.get("exact", 0), dropped.get("near", 0)
    return join(
        [
            paragraph(
                f"{formats.things(total, 'file')} went because another file says the same: {formats.count(exact)} equal "
                f"byte for byte, {formats.count(near)} nearly equal. Of each group the best-ranked file was kept."
            ),
            _near_dedup(report),
            _similarities(key, clusters) if near else NO_HTML,
            _most_copied(clusters),
            _samples(copies, texts, redact),
        ]
    )


_COUNTS = "select kind, count(*) as files from rows where decisive group by kind"


def _near_dedup(report: Mapping[str, Any]) -> Html:
    statistics = report.get("near_dedup")
    if not statistics:
        return NO_HTML
    threshold = statistics.get("threshold")
    rule = "" if threshold is None else f" from a similarity of {formats.measured(threshold)} on"
    rows = [(label, formats.count(statistics[name])) for name, label in _STATISTICS.items() if name in statistics]
    columns = [Column("what was counted"), Column("number", is_number=True)]
    return join(
        [
            paragraph(
                "Near duplicates were looked for under the rule ",
                code(str(statistics.get("preset"))),
                f"{rule}. Similarity is the share of short word sequences that two files have in common: 1 for the same, 0 "
                "for nothing shared.",
            ),
            table(columns, rows, caption="What near deduplication looked at"),
        ]
    )


def _similarities(key: str, clusters: Table) -> Html:
    rows = query(
        clusters,
        f"select least(floor(similarity * {_BANDS} + 1e-9), {_BANDS - 1})::integer as band, count(*) as files from rows "
        "where decisive and kind = 'near' group by band order by band desc",
    )
    frame = Frame(
        f"{key}similarity",
        "How similar near duplicates are",
        "Files dropped as near duplicates, by similarity to the file that was kept. The lowest are the doubtful ones.",
    )
    bars = [
        Bar(
            f"{row['band'] / _BANDS:.2f} to {(row['band'] + 1) / _BANDS:.2f}",
            formats.things(row["files"], "file"),
            row["files"],
        )
        for row in rows
    ]
    return figures(bar_chart(frame, bars))


def _most_copied(clusters: Table) -> Html:
    rows = query(
        clusters,
        "select other_repo, other_revision, other_path, count(*) as copies, count(distinct repo) as repos from rows "
        "where decisive group by all order by copies desc, other_repo, other_revision, other_path limit ?",
        MOST_COPIED,
    )
    columns = [Column("kept file"), Column("copies dropped", is_number=True), Column("from repositories", is_number=True)]
    cells = [
        (
            code(document_name(row["other_repo"], row["other_revision"], row["other_path"])),
            formats.count(row["copies"]),
            formats.count(row["repos"]),
        )
        for row in rows
    ]
    return table(columns, cells, caption="Files with the most copies")


def _samples(copies: Sequence[Copy], texts: Mapping[DocumentKey, str], redact: Redactor) -> Html:
    entries = [_sample(copy, texts, redact) for copy in copies]
    return details(f"Samples of copies ({len(entries)})", element("ul", *entries, class_="samples")) if entries else NO_HTML


def _sample(copy: Copy, texts: Mapping[DocumentKey, str], redact: Redactor) -> Html:
    names = element(
        "dl",
        element("dt", "dropped"),
        element("dd", code(document_name(*copy.key))),
        element("dt", "kept"),
        element("dd", code(document_name(*copy.kept))),
        element("dt", "similarity"),
        element("dd", "equal byte for byte" if copy.kind == "exact" else formats.decimal(copy.similarity)),
        class_="evidence",
    )
    both = copy.key in texts and copy.kept in texts
    lines = first_difference(texts[copy.kept], texts[copy.key], redact) if both else None
    return element("li", names, NO_HTML if lines is None else _difference(lines, copy))


def _difference(lines: Sequence[DiffLine], copy: Copy) -> Html:
    if not lines:
        return paragraph("They differ only in what is redacted or in line ends.", class_="note")
    names = {"-": "del", "+": "ins"}
    shown = [
        element(names.get(line.mark, "span"), f"{line.mark} {line.text}".rstrip() + "\n", class_="line") for line in lines
    ]
    label = f"First difference between {document_name(*copy.kept)} and {document_name(*copy.key)}"
    return join(
        [
            paragraph("The first lines that differ: − as in the kept file, + as in the dropped one.", class_="note"),
            element("pre", element("code", *shown), tabindex=0, role="region", aria_label=label),
        ]
    )
