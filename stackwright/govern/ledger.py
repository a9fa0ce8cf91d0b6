"""Answers from the ledger: why a file is in the dataset, or why it is not.

In: a run folder and a target (repository, repository:path, or content id). Out: an `Explanation` made of ledger rows of
corpus and dataset, or a `Ledger` to ask further. DuckDB reads the Parquet parts, so nothing but the asked-for rows is
loaded.
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

CONTENT_ID = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)

TargetKind = Literal["repository", "document", "content"]

MOST_COPIES = 50

_FILE_ORDER = "verdict, len(fired) = 0, repo, revision, path"
"""Dropped and evidenced files first: they are what people ask about."""

_VIEWS = (
    ("seen", "corpus", "ledger"),
    ("judged", "dataset", "ledger"),
    ("edges", "dataset", "clusters"),
    ("used", "dataset", "documents"),
    ("repositories", "corpus", "repositories"),
)
"""View, artefact, table."""


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

    `target` is a repository (`installed/numpy`, or its last parts where they are unique), `repository:path`, or a
    git blob SHA-1. At most `limit` documents are returned; all are counted.

    Raises:
        TargetError: nothing of that name was seen; the message gives the nearest names.
        ArtifactError: the run has no finished dataset.
    """
    ledger = Ledger(run_folder)
    selection = ledger.select(target)
    verdicts = ledger.verdicts(selection)
    if not verdicts:
        raise ledger.unknown(selection)
    return Explanation(
        target=target,
        kind=selection.kind,
        num_documents=sum(verdicts.values()),
        verdicts=verdicts,
        documents=ledger.rows(selection, limit),
        copies=[] if selection.kind == "repository" else ledger.copies(selection),
    )


@dataclass(frozen=True)
class Selection:
    """The files that a target names: a condition over columns that every table with documents has."""

    target: str
    kind: TargetKind
    values: tuple[str, ...]  # repository; repository and path; or content id

    @property
    def condition(self) -> str:
        columns = {"repository": ("repo",), "document": ("repo", "path"), "content": ("content_id",)}[self.kind]
        return " and ".join(f"{column} = ?" for column in columns)


class Ledger:
    """Both ledgers of a run with what belongs to them, as DuckDB views.

    `files` has every file that was seen (the ledger's columns and `stage`), `edges` the duplicates, `used` the documents of
    the dataset, `repositories` what each declares.
    """

    def __init__(self, run_folder: Path) -> None:
        artifacts = {name: load_artifact(run_folder / name) for name in ("corpus", "dataset")}
        self.dataset = artifacts["dataset"]
        self._database = duckdb.connect(config={"threads": 1})
        for view, artifact, table in _VIEWS:
            self.add(view, artifacts[artifact], table)
        self._database.execute(
            "create view files as select 'collect' as stage, * from seen union all select 'curate' as stage, * from judged"
        )

    def add(self, view: str, artifact: Artifact, table: str) -> None:
        """Make another table of the run a view."""
        self._database.from_parquet(_files(artifact, table)).create_view(view)

    def select(self, target: str) -> Selection:
        """Return the files that a target names, whether there are any or not."""
        if CONTENT_ID.fullmatch(target):
            return Selection(target, "content", (target.lower(),))
        name, colon, path = target.partition(":")
        repo = self._full_name(name)
        return Selection(target, "document", (repo, path)) if colon else Selection(target, "repository", (repo,))

    def rows(self, selection: Selection, limit: int | None) -> list[dict[str, Any]]:
        """Return ledger rows with the stage that decided, at most `limit`."""
        return self.query(f"select * from files where {selection.condition} {_first(limit)}", selection.values)

    def verdicts(self, selection: Selection) -> dict[str, int]:
        """Return keep, or the reason of the drop -> number of files, the most frequent first."""
        rows = self.query(
            f"select coalesce(reason, 'keep') as outcome, count(*) as files from files where {selection.condition} "
            "group by outcome order by files desc, outcome",
            selection.values,
        )
        return {row["outcome"]: row["files"] for row in rows}

    def copies(self, selection: Selection) -> list[dict[str, Any]]:
        """Return the edges in which a file of the target is the dropped or the kept member."""
        return self.query(
            f"with asked as (select repo, revision, path from files where {selection.condition}) select e.* from edges e "
            "where (e.repo, e.revision, e.path) in (select (repo, revision, path) from asked) or "
            "(e.other_repo, e.other_revision, e.other_path) in (select (repo, revision, path) from asked) order by "
            f"not e.decisive, e.repo, e.revision, e.path, e.other_repo, e.other_path limit {MOST_COPIES}",
            selection.values,
        )

    def copies_each(
        self, selection: Selection, limit: int | None, *, side: Literal["lower", "higher"]
    ) -> list[dict[str, Any]]:
        """Return the edges of each of the `rows` of the same limit, at most `limit` of a file and of a kind.

        Every edge is told from the file's side: `repo`, `revision` and `path` are the file's, `other_…` its copy's.
        `num_edges` says how many there are. On the side `lower` the file ranks lower and was dropped where it is decisive.
        """
        own, other = ("", "other_") if side == "lower" else ("other_", "")
        names = ", ".join(
            f"e.{prefix}{name} as {shown}{name}"
            for prefix, shown in ((own, ""), (other, "other_"))
            for name in ("repo", "revision", "path", "content_id")
        )
        most = "" if limit is None else f"where place <= {limit:d}"
        return self.query(
            f"with asked as (select repo, revision, path from files where {selection.condition} {_first(limit)}), "
            f"told as (select {names}, e.kind, e.similarity, e.decisive from edges e where "
            f"(e.{own}repo, e.{own}revision, e.{own}path) in (select (repo, revision, path) from asked)), "
            "placed as (select *, count(*) over edge as num_edges, row_number() over (edge order by similarity desc, "
            "other_repo, other_revision, other_path) as place from told "
            "window edge as (partition by repo, revision, path, decisive)) "
            f"select * exclude (place) from placed {most} order by repo, revision, path, not decisive, place",
            selection.values,
        )

    def unknown(self, selection: Selection) -> TargetError:
        """Return the error for a target of which nothing was seen, with the nearest names."""
        return TargetError(f"{selection.target!r} was not seen in this run", self._hint(selection))

    def query(self, query: str, values: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Return the rows of a query over the views."""
        result = self._database.execute(query, list(values))
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def _repositories(self) -> list[str]:
        return [row["repo"] for row in self.query("select distinct repo from files order by repo")]

    def _paths(self, repo: str) -> list[str]:
        return [row["path"] for row in self.query("select distinct path from files where repo = ? order by path", (repo,))]

    def _full_name(self, name: str) -> str:
        """Return the repository meant by its full name or, where only one ends so, by its last parts."""
        known = self._repositories()
        endings = _ending_in(name, known)
        return endings[0] if name not in known and len(endings) == 1 else name

    def _hint(self, selection: Selection) -> str:
        if selection.kind == "content":
            return "give the git blob SHA-1 of the file's bytes (git hash-object FILE), a repository, or repository:path"
        known, repo = self._repositories(), selection.values[0]
        if selection.kind == "document" and repo in known:
            paths, path = self._paths(repo), selection.values[1]
            return nearest_names(path, _ending_in(path, paths) or paths) + f" (in {repo})"
        if endings := _ending_in(repo, known):
            return "say which: " + " or ".join(endings)
        short = {name.rpartition("/")[2]: name for name in known}
        return nearest_names(repo.rpartition("/")[2], short)


def _first(limit: int | None) -> str:
    return f"order by {_FILE_ORDER}" + ("" if limit is None else f" limit {limit:d}")


def _ending_in(name: str, names: Sequence[str]) -> list[str]:
    """Return the names whose last parts are `name`."""
    return [known for known in names if name and known.endswith(f"/{name}")]


def _files(artifact: Artifact, table: str) -> list[str]:
    return [str(part) for part in artifact.table(table).parts]
