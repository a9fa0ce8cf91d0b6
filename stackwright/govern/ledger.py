"""Answers from the ledger: why a file is in the dataset, or why it is not.

In: a run folder and a target (repository, repository:path, or content id). Out: an `Explanation` made of ledger rows of
corpus and dataset. DuckDB reads the Parquet parts, so nothing but the asked-for rows is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb

from stackwright.artifact import Artifact, load_artifact
from stackwright.errors import TargetError, nearest_names

CONTENT_ID = re.compile(r"[0-9a-f]{40}")

TargetKind = Literal["repository", "document", "content"]


@dataclass(frozen=True)
class Explanation:
    """What a run knows about a target. `documents` are ledger rows with the stage that decided; `copies` are edges."""

    target: str
    kind: TargetKind
    num_documents: int
    verdicts: Mapping[str, int]  # keep, or the reason of the drop -> number of files
    documents: Sequence[Mapping[str, Any]]
    copies: Sequence[Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "kind": self.kind,
            "num_documents": self.num_documents,
            "verdicts": dict(self.verdicts),
            "documents": [dict(row) for row in self.documents],
            "copies": [dict(row) for row in self.copies],
        }


def explain(run_folder: Path, target: str, *, limit: int = 20) -> Explanation:
    """Look a target up in both ledgers of a run.

    `target` is a repository (`installed/numpy`, or its last part where that is unique), `repository:path`, or a
    git blob SHA-1. At most `limit` documents are returned; all are counted.

    Raises:
        TargetError: nothing of that name was seen; the message gives the nearest names.
        ArtifactError: the run has no finished dataset.
    """
    ledger = _Ledger(run_folder)
    kind, condition, values = _parse_target(ledger, target)
    documents = ledger.rows(condition, values, limit)
    verdicts = ledger.verdicts(condition, values)
    if not verdicts:
        raise TargetError(f"{target!r} was not seen in this run", _hint(ledger, kind, values))
    return Explanation(
        target=target,
        kind=kind,
        num_documents=sum(verdicts.values()),
        verdicts=verdicts,
        documents=documents,
        copies=[] if kind == "repository" else ledger.copies(condition, values),
    )


class _Ledger:
    """Both ledgers and the duplicate edges of a run, as DuckDB views."""

    def __init__(self, run_folder: Path) -> None:
        corpus, dataset = load_artifact(run_folder / "corpus"), load_artifact(run_folder / "dataset")
        self._database = duckdb.connect(config={"threads": 1})
        for name, artifact, table in (
            ("seen", corpus, "ledger"),
            ("judged", dataset, "ledger"),
            ("edges", dataset, "clusters"),
        ):
            self._database.from_parquet(_files(artifact, table)).create_view(name)
        self._database.execute(
            "create view files as select 'collect' as stage, * from seen union all select 'curate' as stage, * from judged"
        )

    def rows(self, condition: str, values: Sequence[str], limit: int) -> list[dict[str, Any]]:
        # Dropped and evidenced files first: they are what people ask about.
        return self._query(
            f"select * from files where {condition} order by verdict, len(fired) = 0, repo, revision, path limit {limit:d}",
            values,
        )

    def verdicts(self, condition: str, values: Sequence[str]) -> dict[str, int]:
        rows = self._query(
            f"select coalesce(reason, 'keep') as outcome, count(*) as files from files where {condition} "
            "group by outcome order by files desc, outcome",
            values,
        )
        return {row["outcome"]: row["files"] for row in rows}

    def copies(self, condition: str, values: Sequence[str]) -> list[dict[str, Any]]:
        """Return the edges in which a file of the target is the dropped or the kept member."""
        return self._query(
            f"with asked as (select repo, revision, path from files where {condition}) select e.* from edges e where "
            "(e.repo, e.revision, e.path) in (select (repo, revision, path) from asked) or "
            "(e.other_repo, e.other_revision, e.other_path) in (select (repo, revision, path) from asked) "
            "order by not e.decisive, e.repo, e.revision, e.path, e.other_repo, e.other_path limit 50",
            values,
        )

    def repositories(self) -> list[str]:
        return [row["repo"] for row in self._query("select distinct repo from files order by repo", ())]

    def paths(self, repo: str) -> list[str]:
        return [row["path"] for row in self._query("select distinct path from files where repo = ? order by path", (repo,))]

    def _query(self, query: str, values: Sequence[str]) -> list[dict[str, Any]]:
        result = self._database.execute(query, list(values))
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _files(artifact: Artifact, table: str) -> list[str]:
    return [str(part) for part in artifact.table(table).parts]


def _parse_target(ledger: _Ledger, target: str) -> tuple[TargetKind, str, list[str]]:
    if CONTENT_ID.fullmatch(target):
        return "content", "content_id = ?", [target]
    repo, colon, path = target.partition(":")
    repo = _full_repository_name(ledger, repo)
    if colon:
        return "document", "repo = ? and path = ?", [repo, path]
    return "repository", "repo = ?", [repo]


def _full_repository_name(ledger: _Ledger, name: str) -> str:
    """Return the repository meant by its full name or, where only one ends so, by its last part."""
    known = ledger.repositories()
    if name in known:
        return name
    endings = [repo for repo in known if repo.rpartition("/")[2] == name]
    return endings[0] if len(endings) == 1 else name


def _hint(ledger: _Ledger, kind: TargetKind, values: Sequence[str]) -> str:
    if kind == "content":
        return "give the git blob SHA-1 of the file's bytes (git hash-object FILE), a repository, or repository:path"
    known = ledger.repositories()
    repo = values[0]
    if repo in known:
        return nearest_names(values[1], ledger.paths(repo)) + f" (in {repo})"
    short = {name.rpartition("/")[2]: name for name in known}
    return nearest_names(repo.rpartition("/")[2], short)
