"""One of several equal files is kept, by rank, whatever the shards and their order."""

from __future__ import annotations

import datetime
import random
from pathlib import Path
from typing import Any

from stackwright.curate import exact_dedup

UTC = datetime.UTC


def document(content: str, repo: str, path: str = "a.py", **more: Any) -> dict[str, Any]:
    values = {"content_id": content, "repo": repo, "revision": "1", "path": path}
    return {**values, "stars": None, "forks": None, "revision_date": None, "license_type": "permissive", **more}


def edges_of(shards: list[list[dict[str, Any]]], scratch: Path, num_partitions: int = 3) -> set[tuple[str, str, str]]:
    """Return (content, dropped repository, kept repository) for every edge."""
    for shard, documents in enumerate(shards):
        rows = [exact_dedup.candidate(entry) for entry in documents]
        exact_dedup.send_candidates(rows, num_partitions, scratch, shard)
    for partition in range(num_partitions):
        exact_dedup.reduce_partition(partition, num_shards=len(shards), scratch=scratch)
    rows = [row for shard in range(len(shards)) for row in exact_dedup.read_edges(scratch, shard)]
    assert all(row["kind"] == "exact" and row["similarity"] == 1.0 for row in rows)
    return {(row["content_id"], row["repo"], row["other_repo"]) for row in rows}


def test_equal_content_keeps_the_best_ranked_copy(tmp_path: Path) -> None:
    documents = [
        document("x", "plain"),
        document("x", "starred", stars=9),
        document("x", "unlicensed", stars=100, license_type="no_license"),
        document("y", "late", revision_date=datetime.datetime(2020, 1, 1, tzinfo=UTC)),
        document("y", "early", revision_date=datetime.datetime(2010, 1, 1, tzinfo=UTC)),
        document("y", "undated"),
        document("z", "alone"),
    ]
    assert edges_of([documents], tmp_path) == {
        ("x", "plain", "starred"),
        ("x", "unlicensed", "starred"),
        ("y", "late", "early"),
        ("y", "undated", "early"),
    }


def test_what_is_kept_depends_on_neither_shards_nor_order(tmp_path: Path) -> None:
    documents = [document(f"c{number % 5}", f"repo{number:02d}", stars=number % 3) for number in range(30)]
    expected = edges_of([documents], tmp_path / "one")
    assert len(expected) == 25
    for seed in range(3):
        shuffled = random.Random(seed).sample(documents, len(documents))
        shards = [shuffled[:7], shuffled[7:8], shuffled[8:]]
        assert edges_of(shards, tmp_path / str(seed), num_partitions=seed + 1) == expected
