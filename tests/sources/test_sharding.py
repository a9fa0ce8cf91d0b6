"""Shards: borders that depend on one file each, and a limit that always holds."""

from __future__ import annotations

import random
from collections.abc import Sequence

from stackwright.sources.repository import FileEntry, Repository
from stackwright.sources.sharding import Slice, plan_shards

LIMIT = 1000


def world(num_repos: int, seed: int = 0) -> list[Repository]:
    rng = random.Random(seed)
    sizes = [[rng.randrange(200) for _ in range(rng.randrange(1, 30))] for _ in range(num_repos)]
    return [repository(f"r{number:03d}", files) for number, files in enumerate(sizes)]


def repository(name: str, sizes: Sequence[int]) -> Repository:
    files = tuple(FileEntry(f"f{number:03d}.py", "nowhere", size, 0) for number, size in enumerate(sizes))
    return Repository(name, "1", "test", files)


def plan(repositories: list[Repository], shard_bytes: int = 4000) -> list[list[Slice]]:
    return plan_shards(repositories, shard_bytes=shard_bytes, max_shard_bytes=20_000, max_file_bytes=LIMIT)


def names(shards: list[list[Slice]]) -> list[list[tuple[str, str]]]:
    return [[(piece.repository.repo, file.path) for piece in shard for file in piece.files] for shard in shards]


def test_every_file_lies_in_one_shard_in_document_order() -> None:
    repositories = world(60)
    planned = names(plan(repositories))
    expected = [(repo.repo, file.path) for repo in repositories for file in repo.files]
    assert [name for shard in planned for name in shard] == expected
    assert all(planned)
    assert 10 < len(planned) < 40  # about 90,000 bytes at 4,000 a shard


def test_taking_a_repository_out_changes_the_shards_it_lay_in_and_no_other() -> None:
    repositories = world(60)
    before = {tuple(shard) for shard in names(plan(repositories))}
    for number in (0, 17, 59):
        left = [repo for repo in repositories if repo is not repositories[number]]
        after = {tuple(shard) for shard in names(plan(left))}
        gone = repositories[number].repo
        touched = {shard for shard in before if any(repo == gone for repo, _ in shard)}
        assert len(before - after - touched) <= 1  # a shard that lost its border to the one before it
        assert len(after - before) <= 2


def test_no_shard_grows_beyond_the_limit() -> None:
    shards = plan([repository("big", [LIMIT] * 100)], shard_bytes=10_000_000)
    assert [sum(file.size_bytes for piece in shard for file in piece.files) for shard in shards] == [20_000] * 5


def test_files_that_are_never_admitted_weigh_nothing() -> None:
    assert len(plan([repository("huge", [LIMIT + 1] * 100)], shard_bytes=1)) == 1


def test_nothing_to_read_is_one_empty_shard() -> None:
    assert plan([]) == [[]]
