"""A repository before anything is read: its name, revision, declared licence, and the list of its files.

Listing opens no file. Whatever cannot be admitted because of what it is (a symbolic link, a device, a folder that cannot be
opened) carries a `problem`, so that the ledger has a row for it. `.git` and `__pycache__` are not part of a revision: one
is the history, the other is written by whoever runs the code.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SKIPPED_FOLDERS = frozenset({".git", "__pycache__"})


@dataclass(frozen=True)
class FileEntry:
    """One file of a repository: `path` inside it with forward slashes, `location` on this machine."""

    path: str
    location: str
    size_bytes: int
    mtime_ns: int
    problem: str | None = None  # why it cannot be admitted, as a ledger reason


@dataclass(frozen=True)
class Repository:
    """One revision of one repository with its files sorted by path."""

    repo: str
    revision: str
    source: str
    files: tuple[FileEntry, ...]
    revision_date: datetime.datetime | None = None
    declared_license: str | None = None
    license_origin: str | None = None


def printable_path(path: str) -> str:
    """Return a path that can be stored as UTF-8: bytes that are not become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def file_entry(path: str, location: str) -> FileEntry:
    """Look at one directory entry without following or opening it."""
    shown = printable_path(path)
    try:
        status = os.lstat(location)
    except OSError:
        return FileEntry(shown, location, 0, 0, "unreadable")
    problem = None
    if stat.S_ISLNK(status.st_mode):
        problem = "symlink"
    elif not stat.S_ISREG(status.st_mode):
        problem = "not_a_regular_file"
    elif shown != path:
        problem = "path_not_utf8"
    return FileEntry(shown, location, status.st_size, status.st_mtime_ns, problem)


def iter_tree(root: Path, *, skip: Collection[str] = ()) -> Iterator[FileEntry]:
    """Yield every file under a folder. Links are reported and never followed, so that no loop can trap the walk.

    Args:
        skip: further folder names to leave out, at the top level only.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError:
            yield FileEntry(printable_path(folder), str(root / folder), 0, 0, "unreadable")
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield file_entry(path, entry.path)
            elif entry.name not in SKIPPED_FOLDERS and (folder or entry.name not in skip):
                pending.append(path)


def sorted_files(entries: Iterator[FileEntry]) -> tuple[FileEntry, ...]:
    """Return the files in the order of documents."""
    return tuple(sorted(entries, key=lambda entry: entry.path))


def listing_digest(repositories: Sequence[Repository]) -> str:
    """Return a digest of what is listed: any file that is added, removed, resized or touched changes it."""
    digest = hashlib.sha256()
    for repository in repositories:
        digest.update(repr((repository.repo, repository.revision, repository.declared_license)).encode())
        for entry in repository.files:
            digest.update(repr((entry.path, entry.size_bytes, entry.mtime_ns, entry.problem)).encode())
    return digest.hexdigest()
