"""Files that are there whole or not at all, digests of values and files, and where an operator's keys lie.

Whatever is written here gets a temporary name, is synced and then renamed, so a reader never sees half of it and a killed
process leaves nothing that has a final name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path


def canonical_json(value: object) -> str:
    """Return `value` as JSON with sorted keys and no spare white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(path: Path) -> Path:
    """Return the name under which `path` is written until it is whole."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, sync it, and give it its name: it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: Path, value: object) -> None:
    """Write readable JSON with a fixed order of keys, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode("utf-8") + b"\n")


def key_file(variable: str, name: str) -> Path:
    """Return the place of an operator's key: what the environment variable names, or the user's configuration folder."""
    given = os.environ.get(variable)
    if given:
        return Path(given)
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "stackwright" / name


def make_secret_file(path: Path, make: Callable[[], bytes]) -> None:
    """Write a file that only its owner may read, unless it is there. Of two processes that write it one wins."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(make())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # unlike rename, leaves a file that another process made meanwhile
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    sync_folder(path.parent)  # what is made with a key must not outlive it


def link_file(source: Path, path: Path) -> None:
    """Give a finished file a second name, or copy it where the file system has no links. Neither may be written to after."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, temporary)
        sync_file(temporary)
    os.replace(temporary, path)


def remove_folder(folder: Path) -> None:
    """Remove a folder, if it is there, as if at once: after a kill half-way nothing has its name.

    Where work goes on from what lies in a folder, a part of it would be taken for the whole. What a kill leaves lies beside
    it under `removed_name`, and the next removal takes it along.
    """
    rest = removed_name(folder)
    shutil.rmtree(rest, ignore_errors=True)
    with suppress(FileNotFoundError):
        os.rename(folder, rest)
    shutil.rmtree(rest, ignore_errors=True)


def removed_name(folder: Path) -> Path:
    """Return the name that a folder has while it is removed."""
    return folder.with_name(f"{folder.name}.old")


def iter_files(folder: Path) -> Iterable[Path]:
    """Yield every regular file under `folder` in a fixed order, leaving out files still under a temporary name."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if not (name.startswith(".") and ".tmp-" in name):
                yield Path(parent) / name
