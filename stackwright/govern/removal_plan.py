"""What a removal takes: files that were asked for, exact copies, and near copies that somebody must decide about.

In: the finished corpus and dataset of a run, and requests. Out: a `RemovalPlan`, which names each file with the reason why
it goes. Exact copies follow wherever they lie, for they are the same bytes; forks are found by them, as no source declares
a fork yet. A near copy follows only when its revision is known to be later than that of the file it is like: whoever came
first may be its author. Every other near copy is left for decision.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from stackwright.artifact import Artifact, Table
from stackwright.document import DocumentKey, document_name, git_blob_id
from stackwright.engine import read_table
from stackwright.govern.receipts import (
    ASKED_FOR,
    NearCopy,
    RemovedFile,
    exact_copy_of,
    near_copy_of,
    similarity_text,
    was_left_out,
    was_used,
)
from stackwright.govern.removals import RemovalSet
from stackwright.govern.requests import Request, Target, parse_target

NearCopies = Literal["later", "all", "none"]
"""Which near copies go as well: those known to be later, all, or none. What stays is listed for decision."""

EMPTY_FILE = git_blob_id(b"")
"""The content of every empty file: nobody's work, so it takes no copies along."""


@dataclass(frozen=True)
class Seen:
    """A file as the ledgers have it."""

    repo: str
    revision: str
    path: str
    content_id: str | None
    size_bytes: int | None
    reason: str | None  # why it was left out; None when it is in the dataset
    is_admitted: bool  # by collect

    @property
    def key(self) -> DocumentKey:
        return self.repo, self.revision, self.path

    @property
    def name(self) -> str:
        return document_name(*self.key)


@dataclass(frozen=True)
class RemovalPlan:
    """What goes, why, and what is left for decision."""

    requests: tuple[Request, ...]  # those that something matches
    unmatched: tuple[Request, ...]  # those that nothing in the run matches; they stay as they are
    files: Mapping[DocumentKey, Seen] = field(repr=False)
    why: Mapping[DocumentKey, str] = field(repr=False)
    left_for_decision: tuple[NearCopy, ...] = ()

    @property
    def removals(self) -> RemovalSet:
        """What later builds must not bring back."""
        targets = frozenset(request.target for request in self.requests)
        names = frozenset((*key, file.size_bytes) for key, file in self.files.items())
        ids = frozenset(file.content_id for file in self.files.values() if file.content_id and file.content_id != EMPTY_FILE)
        return RemovalSet(targets, names, ids)

    def in_dataset(self) -> list[DocumentKey]:
        """Return the files that the dataset holds, sorted."""
        return sorted(key for key, file in self.files.items() if file.reason is None)

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": [request.id for request in self.requests],
            "unmatched": [request.id for request in self.unmatched],
            "removed": [asdict(file) for file in self.removed(())],
            "left_for_decision": [asdict(copy) for copy in self.left_for_decision],
        }

    def removed(self, trained_on: Collection[DocumentKey]) -> tuple[RemovedFile, ...]:
        """Return the files for the receipt, sorted. `trained_on` are those that a checkpoint saw."""
        return tuple(
            RemovedFile(file.content_id, *key, why=self.why[key], was=_was(file, key in trained_on))
            for key, file in sorted(self.files.items())
        )


def _was(file: Seen, trained: bool) -> str:
    if file.reason is None:
        return was_used(trained=trained)
    return was_left_out(file.reason, admitted=file.is_admitted)


def plan_removal(
    corpus: Artifact, dataset: Artifact, requests: Sequence[Request], near_copies: NearCopies = "later"
) -> RemovalPlan:
    """Find everything that the requests take. Reads the names of all files, part by part, and no text."""
    targets = [(request, parse_target(request.target)) for request in requests]
    files, matched = _files_matching(corpus, dataset, targets)
    why = dict.fromkeys(files, ASKED_FOR)
    _add_exact_copies(corpus, dataset, files, why)
    near = _near_copies(dataset.table("clusters"), files)
    going, left = _decide(corpus, near, files, near_copies)
    if going:
        found = _files_where(corpus, dataset, lambda file: file.key in going)
        files.update(found)
        why.update({key: near_copy_of(going[key].copy_of, float(going[key].similarity)) for key in found})
        _add_exact_copies(corpus, dataset, files, why)
    return RemovalPlan(
        requests=tuple(request for request, target in targets if target in matched),
        unmatched=tuple(request for request, target in targets if target not in matched),
        files=files,
        why=why,
        left_for_decision=tuple(copy for key, copy in sorted(left.items()) if key not in files),
    )


def _files_matching(
    corpus: Artifact, dataset: Artifact, targets: Sequence[tuple[Request, Target]]
) -> tuple[dict[DocumentKey, Seen], set[Target]]:
    matched: set[Target] = set()

    def is_wanted(file: Seen) -> bool:
        found = [target for _, target in targets if target.matches(file.repo, file.path, file.content_id)]
        matched.update(found)
        return bool(found)

    return _files_where(corpus, dataset, is_wanted), matched


def _add_exact_copies(
    corpus: Artifact, dataset: Artifact, files: dict[DocumentKey, Seen], why: dict[DocumentKey, str]
) -> None:
    """Add every file that has the bytes of one that goes."""
    first: dict[str, str] = {}
    for file in files.values():
        if file.content_id is not None and file.content_id != EMPTY_FILE:
            first.setdefault(file.content_id, file.name)
    copies = _files_where(corpus, dataset, lambda file: file.content_id in first and file.key not in files)
    files.update(copies)
    why.update({key: exact_copy_of(first[copy.content_id or ""]) for key, copy in copies.items()})


def _files_where(corpus: Artifact, dataset: Artifact, condition: Callable[[Seen], bool]) -> dict[DocumentKey, Seen]:
    return {file.key: file for file in _all_files(corpus, dataset) if condition(file)}


def _all_files(corpus: Artifact, dataset: Artifact) -> Iterator[Seen]:
    names = ["repo", "revision", "path", "content_id", "size_bytes", "reason"]
    for table, is_admitted in ((corpus.table("ledger"), False), (dataset.table("ledger"), True)):
        for part in read_table(table, names):
            columns = [part.column(name).to_pylist() for name in names]
            for row in zip(*columns, strict=True):
                yield Seen(**dict(zip(names, row, strict=True)), is_admitted=is_admitted)


def _near_copies(clusters: Table, files: Collection[DocumentKey]) -> dict[DocumentKey, NearCopy]:
    """Return the near copies of what goes that would stay, each with the file it is most like."""
    found: dict[DocumentKey, NearCopy] = {}
    for part in read_table(clusters):
        for edge in part.to_pylist():
            if edge["kind"] != "near":
                continue
            for copy, original in (("", "other_"), ("other_", "")):
                key, of = _edge_key(edge, copy), _edge_key(edge, original)
                if of in files and key not in files:
                    similarity = similarity_text(edge["similarity"])
                    entry = NearCopy(edge[f"{copy}content_id"], *key, copy_of=document_name(*of), similarity=similarity)
                    if key not in found or found[key].similarity < similarity:
                        found[key] = entry
    return found


def _edge_key(edge: Mapping[str, Any], prefix: str) -> DocumentKey:
    return edge[f"{prefix}repo"], edge[f"{prefix}revision"], edge[f"{prefix}path"]


def _decide(
    corpus: Artifact, near: Mapping[DocumentKey, NearCopy], files: Mapping[DocumentKey, Seen], near_copies: NearCopies
) -> tuple[dict[DocumentKey, NearCopy], dict[DocumentKey, NearCopy]]:
    """Return the near copies that go, and those that are left."""
    if near_copies == "none" or not near:
        return {}, dict(near)
    if near_copies == "all":
        return dict(near), {}
    dates = _revision_dates(corpus, [*near, *files])
    by_name = {file.name: key for key, file in files.items()}
    going = {}
    for key, copy in near.items():
        own, original = dates.get(key), dates.get(by_name[copy.copy_of])
        if own is not None and original is not None and own > original:
            going[key] = copy
    return going, {key: copy for key, copy in near.items() if key not in going}


def _revision_dates(corpus: Artifact, keys: Iterable[DocumentKey]) -> dict[DocumentKey, datetime.datetime | None]:
    """Return when the revision of each file was made, where that is known."""
    table = corpus.table("repositories").read(["repo", "revision", "revision_date"])
    dates = {(row["repo"], row["revision"]): row["revision_date"] for row in table.to_pylist()}
    return {key: dates.get(key[:2]) for key in keys}
