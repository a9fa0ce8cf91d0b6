"""What requests took out of a run, as collect needs to know it: targets, the files they named, and contents.

In: `optout/removed.json` of a run folder, which only an applied removal replaces. Out: a `RemovalSet`. Targets hold for
every later build too, also for files that appear under them only then; contents hold wherever they turn up. The names of
the files that were found when a removal was applied are kept beside, so that a later build lists them no more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stackwright.errors import ArtifactError
from stackwright.files import digest_of
from stackwright.govern.requests import RequestLog, Target, parse_target

RemovedName = tuple[str, str, str, int | None]
"""Repository, revision, path and size of a file."""

OPTOUT = "optout"
REMOVED_FILE = "removed.json"
REQUESTS_FILE = "requests.jsonl"
RECEIPTS = "receipts"
FORMAT = 1


@dataclass(frozen=True)
class RemovalSet:
    """The removals of a run. Grows, never shrinks."""

    targets: frozenset[str] = frozenset()
    files: frozenset[RemovedName] = frozenset()  # those found when a removal was applied
    content_ids: frozenset[str] = frozenset()
    receipts: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def digest(self) -> str:
        """A digest of all that is removed; empty when nothing is."""
        return digest_of(self.to_json()) if self.targets or self.files or self.content_ids else ""

    @cached_property
    def _parsed(self) -> tuple[Target, ...]:
        return tuple(parse_target(text) for text in sorted(self.targets))

    def covers_repository(self, repo: str) -> bool:
        """Return whether a whole repository is removed."""
        return any(target.covers_repository(repo) for target in self._parsed)

    def covers(self, repo: str, revision: str, path: str, size_bytes: int) -> bool:
        """Return whether a file is removed, as far as can be told without reading it.

        A copy in somebody else's repository is known by revision and size too: what they write in its place is theirs.
        """
        known = (repo, revision, path, size_bytes) in self.files
        return known or any(target.matches(repo, path, None) for target in self._parsed)

    def joined(self, other: RemovalSet) -> RemovalSet:
        """Return what both took out."""
        return RemovalSet(self.targets | other.targets, self.files | other.files, self.content_ids | other.content_ids)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "targets": sorted(self.targets),
            "files": sorted(map(list, self.files), key=str),
            "content_ids": sorted(self.content_ids),
        }


def request_log(run_folder: Path) -> RequestLog:
    """Return the log of requests of a run."""
    return RequestLog(run_folder / OPTOUT / REQUESTS_FILE)


def receipt_ids(run_folder: Path) -> list[str]:
    """Return the ids of the receipts that a run's removals left."""
    return sorted(path.stem for path in (run_folder / OPTOUT / RECEIPTS).glob("*.json"))


def load_removals(run_folder: Path) -> RemovalSet:
    """Return the removals of a run; an empty set when nothing was taken out.

    Raises:
        ArtifactError: the file is damaged. Building on without it would bring back what was taken out.
    """
    path = run_folder / OPTOUT / REMOVED_FILE
    if not path.is_file():
        return RemovalSet()
    try:
        value = json.loads(path.read_text("utf-8"))
        if value["format"] != FORMAT:
            raise ValueError(f"format {value['format']!r}, this version reads format {FORMAT}")
        files = frozenset((repo, revision, path, size) for repo, revision, path, size in value["files"])
        return RemovalSet(
            frozenset(value["targets"]), files, frozenset(value["content_ids"]), tuple(receipt_ids(run_folder))
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path} is damaged ({error}), and a build without it would bring back what authors had taken out",
            "put back a copy, or apply the requests again after removing it",
        ) from error
