"""The labelled texts: from the cache, else out of the package that was published.

In: the members that the records name, and a cache folder. Out: their texts by digest, and the members that could not be
had, each with the reason. The cache holds `members/SHA256`, one file for each text and nothing else of a package; with all
of them there, nothing is fetched. What comes out of an archive must have the digest in the label, else the figures would
speak of other texts: that is an error. One archive is fetched at a time, and after many failures in a row an index is left
alone.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stackwright.errors import SourceError, TargetError
from stackwright.files import write_bytes
from stackwright.log import Progress, SilentProgress
from stackwright.measure.archives import read_members
from stackwright.measure.clients import fetch_archive
from stackwright.measure.records import Archive, Member
from stackwright.measure.texts import text_of

_OTHER_BYTES = "the index gave another file than the one that was labelled: use an index that has the original"

FetchArchive = Callable[[Archive, Path], Path]
"""Puts an archive into an empty folder and returns its path; raises `SourceError` when it cannot be had."""

MOST_FAILURES_IN_A_ROW = 20
"""An index that fails so often cannot be reached; asking for hundreds more would only take time."""


@dataclass(frozen=True)
class Missing:
    """A member that could not be had, and why."""

    member: Member
    why: str

    def to_json(self) -> dict[str, str]:
        return {"member": self.member.name, "archive": self.member.archive.file, "why": self.why}


@dataclass(frozen=True)
class Fetched:
    """Texts by digest, and what is missing, in the order of the archives."""

    texts: dict[str, str]
    missing: tuple[Missing, ...]


def cache_folder() -> Path:
    """Return where texts are kept when no folder is given: in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "stackwright" / "measure"


def fetch_members(
    members: Iterable[Member], cache: Path, *, progress: Progress | None = None, fetch: FetchArchive = fetch_archive
) -> Fetched:
    """Return the text of every member that is in the cache or can be fetched.

    Raises:
        SourceError: an archive does not hold a member, or holds it with other bytes than those that were labelled.
        TargetError: the cache folder cannot be made.
    """
    texts: dict[str, str] = {}
    wanted: dict[Archive, list[Member]] = {}
    for member in dict.fromkeys(members):
        data = _cached(cache, member.sha256)
        if data is not None:
            texts[member.sha256] = text_of(data)
        else:
            wanted.setdefault(member.archive, []).append(member)
    if not wanted:
        return Fetched(texts, ())
    _make_folder(cache)
    fetched = _fetch_archives(wanted, cache, progress or SilentProgress(), fetch)
    texts |= fetched.texts
    return Fetched(texts, tuple(missing for missing in fetched.missing if missing.member.sha256 not in texts))


def _make_folder(cache: Path) -> None:
    try:
        _place(cache, "").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"{cache} cannot be made ({error.strerror})", "give another folder with --data") from error


def _fetch_archives(
    wanted: Mapping[Archive, Sequence[Member]], cache: Path, progress: Progress, fetch: FetchArchive
) -> Fetched:
    """Take the wanted members out of one archive after another."""
    texts: dict[str, str] = {}
    missing: list[Missing] = []
    failures: Counter[str] = Counter()
    task = progress.task("fetching", len(wanted), "packages")
    for archive in sorted(wanted, key=lambda archive: (archive.index, archive.package, archive.file)):
        task.note(f"{archive.package} {archive.version}")
        try:
            if failures[archive.index] >= MOST_FAILURES_IN_A_ROW:
                raise SourceError(f"not tried: {MOST_FAILURES_IN_A_ROW} in a row failed", "run the same command again")
            found = _read_archive(archive, wanted[archive], cache, fetch)
        except SourceError as error:
            failures[archive.index] += 1
            missing += [Missing(member, error.problem) for member in wanted[archive]]
        else:
            failures[archive.index] = 0
            texts |= _checked(wanted[archive], found, cache)
        task.advance(1)
    return Fetched(texts, tuple(missing))


def _read_archive(archive: Archive, members: Sequence[Member], cache: Path, fetch: FetchArchive) -> dict[str, bytes]:
    """Fetch an archive into a folder that goes away again and return the wanted files by path."""
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=cache) as folder:
        return read_members(fetch(archive, Path(folder)), {member.path for member in members})


def _checked(members: Sequence[Member], found: dict[str, bytes], cache: Path) -> dict[str, str]:
    """Keep what came out of an archive and return it as texts; refuse what is not what was labelled."""
    texts = {}
    for member in members:
        data = found.get(member.path)
        if data is None:
            raise SourceError(f"{member.archive.file} does not hold {member.path} of the record {member.name}", _OTHER_BYTES)
        digest = hashlib.sha256(data).hexdigest()
        if digest != member.sha256:
            raise SourceError(f"{member.name} has the SHA-256 {digest} where the label says {member.sha256}", _OTHER_BYTES)
        write_bytes(_place(cache, digest), data)
        texts[digest] = text_of(data)
    return texts


def _place(cache: Path, digest: str) -> Path:
    return cache / "members" / digest


def _cached(cache: Path, digest: str) -> bytes | None:
    """Return a cached file, None when it is not there or not what its name says."""
    try:
        data = _place(cache, digest).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None
