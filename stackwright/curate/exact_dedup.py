"""Exact deduplication: of the files with equal bytes one is kept, and the others point at it.

Candidates are partitioned by `content_id` (equal bytes meet in one partition), sorted by rank within their group, and
the best-ranked is kept: licence class, stars, forks, earliest revision date, then repository, revision and path, which
make the order total. What is kept therefore depends neither on shards nor on workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from stackwright.artifact import read_batch, write_batches
from stackwright.document import CLUSTERS, key_of
from stackwright.engine import Result, partition_by_key, partition_file, read_partition

RULE = "exact_dedup"
VERSION = 1

_LICENSE_RANK = {"permissive": 0, "no_license": 1, "non_permissive": 2}
NO_DATE = 2**62

RANK_COLUMNS = pa.schema(
    [
        pa.field("license_rank", pa.int64(), nullable=False),
        pa.field("minus_stars", pa.int64(), nullable=False),
        pa.field("minus_forks", pa.int64(), nullable=False),
        pa.field("revision_seconds", pa.int64(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
    ]
)
RANK_ORDER = RANK_COLUMNS.names
"""Sorted by these, the best document comes first; the name makes the order total."""

CANDIDATES = pa.schema(
    [
        pa.field("content_id", pa.string(), nullable=False),
        *RANK_COLUMNS,
    ]
)

DUPLICATES_FOLDER = "duplicates"
CANDIDATES_FOLDER = "candidates"


def rank_columns(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a document is ranked by among its copies. Null stars and forks count as 0 (FACTS K 11)."""
    date = document["revision_date"]
    return {
        "license_rank": _LICENSE_RANK[document["license_type"]],
        "minus_stars": -(document["stars"] or 0),
        "minus_forks": -(document["forks"] or 0),
        "revision_seconds": NO_DATE if date is None else int(date.timestamp()),
        "repo": document["repo"],
        "revision": document["revision"],
        "path": document["path"],
    }


def candidate(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row by which a document competes with its copies."""
    return {"content_id": document["content_id"], **rank_columns(document)}


def candidates_file(scratch: Path, shard: int) -> Path:
    """Return the file in which one shard's candidates lie, by partition."""
    return partition_file(scratch / CANDIDATES_FOLDER, shard)


def send_candidates(rows: Sequence[Mapping[str, Any]], num_partitions: int, scratch: Path, shard: int) -> None:
    """Send one shard's candidates to their partitions."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=CANDIDATES)
    partition_by_key(table, "content_id", num_partitions, scratch / CANDIDATES_FOLDER, shard)


def reduce_partition(partition: int, *, num_shards: int, scratch: Path) -> Result:
    """Find the copies of one partition and write, for each shard, the edges of its documents that are to be dropped."""
    edges: list[list[dict[str, Any]]] = [[] for _ in range(num_shards)]
    kept: dict[str, Any] | None = None
    for row in read_partition(scratch / CANDIDATES_FOLDER, partition, ["content_id", *RANK_ORDER]).to_pylist():
        if kept is None or row["content_id"] != kept["content_id"]:
            kept = row
        else:
            edges[row["shard"]].append(_edge(row, kept))
    tables = [pa.Table.from_pylist(members, schema=CLUSTERS) for members in edges]
    write_batches(scratch / DUPLICATES_FOLDER / f"partition-{partition:05d}.arrow", tables)
    return {"dropped": sum(len(members) for members in edges)}


def read_edges(scratch: Path, shard: int) -> list[dict[str, Any]]:
    """Return the edges of one shard's documents, sorted by document; none when exact deduplication did not run."""
    files = sorted((scratch / DUPLICATES_FOLDER).glob("partition-*.arrow"))
    edges = [edge for file in files for edge in read_batch(file, shard).to_pylist()]
    return sorted(edges, key=key_of)


def _edge(dropped: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: dropped[name] for name in ("repo", "revision", "path", "content_id")},
        **{f"other_{name}": kept[name] for name in ("repo", "revision", "path", "content_id")},
        "kind": "exact",
        "similarity": 1.0,
        "decisive": True,
    }
