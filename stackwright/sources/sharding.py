"""From the list of all files to shards whose borders do not move when other files come and go.

Files lie in document order, and a file opens a new shard when a number drawn from its name falls below its share of
`shard_bytes`: the larger the file, the likelier, so a shard holds `shard_bytes` on average. Whether a file opens a shard
depends on nothing but itself. A file that is added or taken out therefore changes one shard, or joins two, and every
other shard is what it was; that is what lets a stage use again what it made of them. Content-defined chunking cuts a byte
stream by the same idea (Muthitacharoen, Chen, Mazières 2001); here names are the content. No border depends on a machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stackwright.sources.repository import FileEntry, Repository


@dataclass(frozen=True)
class Slice:
    """A run of consecutive files of one repository."""

    repository: Repository  # without its files
    files: tuple[FileEntry, ...]


def plan_shards(
    repositories: Sequence[Repository], *, shard_bytes: int, max_shard_bytes: int, max_file_bytes: int
) -> list[list[Slice]]:
    """Cut all files, in document order, into shards. There is at least one, which may be empty.

    Args:
        shard_bytes: bytes of what may be admitted in a shard, on average.
        max_shard_bytes: a shard that would grow beyond is cut, whatever the names say.
        max_file_bytes: files above it are never admitted and weigh nothing.
    """
    shards: list[list[Slice]] = [[]]
    weight_before = 0
    for repository in repositories:
        bare, pending = replace(repository, files=()), list[FileEntry]()
        for entry in repository.files:
            weight = _weight(entry, max_file_bytes)
            if _opens_shard(repository.repo, entry.path, weight, shard_bytes) or weight_before + weight > max_shard_bytes:
                _append(shards[-1], bare, pending)
                pending, weight_before = [], 0
                if shards[-1]:
                    shards.append([])
            pending.append(entry)
            weight_before += weight
        _append(shards[-1], bare, pending)
    return shards


def _append(shard: list[Slice], repository: Repository, files: list[FileEntry]) -> None:
    if files:
        shard.append(Slice(repository, tuple(files)))


def _opens_shard(repo: str, path: str, weight: int, shard_bytes: int) -> bool:
    draw = int.from_bytes(hashlib.blake2b(f"{repo}:{path}".encode(), digest_size=8).digest(), "big")
    return draw * shard_bytes < weight << 64


def _weight(entry: FileEntry, max_file_bytes: int) -> int:
    return entry.size_bytes if entry.problem is None and entry.size_bytes <= max_file_bytes else 0
