"""Collect: from sources to the corpus.

In: the sources of the recipe. Out: `documents` (every admitted file with its text), `ledger` (one row for each file that
was seen and not admitted), `repositories` (what each declares), `notices` (licence and consent files with their text). All
files, sorted by document, are cut into shards (`sharding.py`), so tables are sorted and no shard depends on the machine or
on far-off files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Any

from stackwright.artifact import Staging
from stackwright.document import DOCUMENTS, LEDGER, NOTICES, REPOSITORIES, document_name
from stackwright.engine import MAX_SHARD_BYTES, Removals, Result, StageContext
from stackwright.errors import DataError, SourceError
from stackwright.recipe import InstalledSource, Recipe, Source
from stackwright.sources.directory import list_directory
from stackwright.sources.installed import list_installed
from stackwright.sources.notices import is_notice
from stackwright.sources.reading import Admitted, Refused, read_file, read_notice
from stackwright.sources.repository import FileEntry, Repository, listing_digest
from stackwright.sources.sharding import Slice, plan_shards

TABLES = {"documents": DOCUMENTS, "ledger": LEDGER, "notices": NOTICES, "repositories": REPOSITORIES}


@dataclass(frozen=True)
class _Shard:
    """What one worker collects."""

    index: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class _Limits:
    """What decides, besides a file itself, whether it is admitted."""

    max_file_bytes: int
    removed: frozenset[str]  # content ids that removal requests took out


def list_repositories(sources: Sequence[Source]) -> list[Repository]:
    """List every source, sorted by (repo, revision). Raises `SourceError` when two sources hold one repository twice."""
    found: dict[tuple[str, str], Repository] = {}
    for source in sources:
        listed = list_installed(source) if isinstance(source, InstalledSource) else list_directory(source)
        for repository in listed:
            name = (repository.repo, repository.revision)
            if name in found:
                raise SourceError(
                    f"repository {repository.repo}@{repository.revision} comes from two sources of the recipe",
                    "remove one of them, or rename the folder",
                )
            found[name] = repository
    return [found[name] for name in sorted(found)]


@lru_cache(maxsize=1)
def _listed(sources: tuple[Source, ...]) -> tuple[Repository, ...]:
    """List once per build: the key of the stage and the stage itself use the same listing."""
    return tuple(list_repositories(sources))


def collect_fingerprint(recipe: Recipe) -> str:
    """Return a digest of the listing of the sources: part of the stage's key, since files change without the recipe."""
    _listed.cache_clear()
    return listing_digest(_listed(recipe.sources))


def run_collect(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the counts of the manifest. Raises `DataError` when no file is admitted."""
    settings = context.recipe.collect
    repositories = _without_removed(_listed(context.recipe.sources), context.removals)
    planned = plan_shards(
        repositories,
        shard_bytes=settings.shard_bytes,
        max_shard_bytes=MAX_SHARD_BYTES,
        max_file_bytes=settings.max_file_bytes,
    )
    shards = [_Shard(index, tuple(slices)) for index, slices in enumerate(planned)]
    context.staging.write_table_part("repositories", 0, [_repository_row(repository) for repository in repositories])
    limits = _Limits(settings.max_file_bytes, context.removals.content_ids)
    worker = partial(_collect_shard, limits=limits, staging=context.staging)
    results = context.engine.map_shards("collect", worker, shards, context.staging.scratch)
    reasons: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    for result in results:
        reasons.update(result["reasons"])
        languages.update(result["languages"])
    documents = sum(result["documents"] for result in results)
    if documents == 0:
        raise DataError(_nothing_admitted(len(repositories), reasons), "check the sources of the recipe")
    return {
        "repositories": len(repositories),
        "documents": documents,
        "bytes": sum(result["bytes"] for result in results),
        "refused": sum(reasons.values()),
        "reasons": dict(sorted(reasons.items())),
        "languages": dict(sorted(languages.items())),
    }


def _without_removed(repositories: Sequence[Repository], removals: Removals) -> list[Repository]:
    """Return the listing as if what was removed had never been there."""
    left = [repository for repository in repositories if not removals.covers_repository(repository.repo)]
    return [_without_removed_files(repository, removals) for repository in left]


def _without_removed_files(repository: Repository, removals: Removals) -> Repository:
    name = repository.repo, repository.revision
    files = tuple(file for file in repository.files if not removals.covers(*name, file.path, file.size_bytes))
    return repository if len(files) == len(repository.files) else replace(repository, files=files)


def _nothing_admitted(num_repositories: int, reasons: Counter[str]) -> str:
    if not reasons:
        return f"the sources hold {num_repositories} repositories and not one file"
    shown = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(3))
    return f"none of {sum(reasons.values())} files was admitted ({shown})"


def _repository_row(repository: Repository) -> dict[str, Any]:
    return {name: getattr(repository, name) for name in REPOSITORIES.names}


def _collect_shard(shard: _Shard, *, limits: _Limits, staging: Staging) -> Result:
    outputs = [path for name in ("documents", "ledger", "notices") for path in staging.part_files(name, shard.index)]
    # What is removed is no part of the key: a removal names every file that holds its contents, so the listing has changed.
    key = [_listing(shard), limits.max_file_bytes]
    return staging.memo.once("collect", key, outputs, partial(_read_shard, shard, limits, staging))


def _listing(shard: _Shard) -> list[Any]:
    """Return all that is known of a shard's files without opening one."""
    return [
        [repr(piece.repository), [[file.path, file.size_bytes, file.mtime_ns, file.problem] for file in piece.files]]
        for piece in shard.slices
    ]


def _read_shard(shard: _Shard, limits: _Limits, staging: Staging) -> Result:
    documents, ledger, notices = [], [], []
    for piece in shard.slices:
        for entry in piece.files:
            outcome = read_file(entry, limits.max_file_bytes)
            if outcome.content_id in limits.removed:
                continue
            notice = read_notice(entry) if is_notice(entry.path) else None
            if notice is not None:
                notices.append(_notice_row(piece.repository, entry, notice))
            if isinstance(outcome, Admitted):
                documents.append(_document_row(piece.repository, entry, outcome))
            else:
                ledger.append(_ledger_row(piece.repository, entry, outcome))
    staging.write_table_part("documents", shard.index, documents)
    staging.write_table_part("ledger", shard.index, ledger)
    staging.write_table_part("notices", shard.index, notices)
    return {
        "documents": len(documents),
        "bytes": sum(row["size_bytes"] for row in documents),
        "reasons": dict(Counter(row["reason"] for row in ledger)),
        "languages": dict(Counter(row["language"] for row in documents)),
    }


def _notice_row(repository: Repository, entry: FileEntry, notice: tuple[str, str]) -> dict[str, Any]:
    content_id, content = notice
    names = {"repo": repository.repo, "revision": repository.revision, "path": entry.path}
    return {**names, "content_id": content_id, "content": content}


def _document_row(repository: Repository, entry: FileEntry, admitted: Admitted) -> dict[str, Any]:
    return {
        **vars(admitted),
        "repo": repository.repo,
        "revision": repository.revision,
        "revision_date": repository.revision_date,
        "path": entry.path,
        "source": repository.source,
        "stars": None,
        "forks": None,
        "detected_licenses": None,
        "license_type": None,
        "split": None,
        "text_id": None,
    }


def _ledger_row(repository: Repository, entry: FileEntry, refused: Refused) -> dict[str, Any]:
    fired = refused.fired
    assert fired.reason, document_name(repository.repo, repository.revision, entry.path)
    return {
        "repo": repository.repo,
        "revision": repository.revision,
        "path": entry.path,
        "content_id": refused.content_id,
        "source": repository.source,
        "language": refused.language,
        "size_bytes": entry.size_bytes,
        "verdict": "drop",
        "rule": fired.rule,
        "rule_version": fired.version,
        "reason": fired.reason,
        "split": None,
        "license_type": None,
        "fired": [asdict(fired)],
    }
