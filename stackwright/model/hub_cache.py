"""Models by name and revision from a local hub cache: no network is asked.

`models--OWNER--NAME/refs/REVISION` holds a commit, `snapshots/COMMIT/` the files. The library that downloads keeps its cache
where `HF_HUB_CACHE` or `HF_HOME` says, in `~/.cache/huggingface/hub` when they say nothing; our releases have one inside
them (`revisions/`), with every checkpoint that was released.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from stackwright.errors import TargetError, nearest_names

REVISIONS_FOLDER = "revisions"

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_hub_name(target: str) -> bool:
    """Whether a text may be OWNER/NAME."""
    return _NAME.fullmatch(target) is not None and ".." not in target


def hub_cache() -> Path:
    """Return the folder of the local hub cache."""
    if folder := os.environ.get("HF_HUB_CACHE"):
        return Path(folder)
    home = os.environ.get("HF_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "huggingface") / "hub"


def find_snapshot(name: str, revision: str = "main", cache: Path | None = None) -> Path:
    """Return the folder of a model's files in a cache.

    Raises:
        TargetError: the model or the revision is not there; it is not fetched.
    """
    cache = cache or hub_cache()
    repository = cache / f"models--{name.replace('/', '--')}"
    if not repository.is_dir():
        raise TargetError(f"model {name} is not in the hub cache {cache}", "fetch it there with the hub's own command")
    commit = revision
    if not _COMMIT.fullmatch(revision):
        refs = repository / "refs"
        known = sorted(path.relative_to(refs).as_posix() for path in refs.rglob("*") if path.is_file())
        if revision not in known:
            raise TargetError(f"{name} has no revision {revision!r} in {cache}", nearest_names(revision, known))
        commit = (refs / revision).read_text("utf-8").strip()
    snapshot = repository / "snapshots" / commit
    if not _COMMIT.fullmatch(commit) or not snapshot.is_dir():
        raise TargetError(f"revision {revision!r} of {name} has no files in {cache}", "fetch it with the hub's own command")
    return snapshot


def find_released(release: Path, revision: str) -> Path:
    """Return the folder of a released checkpoint. Raises `TargetError` where a folder has no such revision."""
    repositories = sorted((release / REVISIONS_FOLDER).glob("models--*--*"))
    if not repositories:
        raise TargetError(f"{release} has no revisions", "give a release, or the name of a model in the hub cache")
    _, owner, name = repositories[0].name.split("--", 2)
    return find_snapshot(f"{owner}/{name}", revision, release / REVISIONS_FOLDER)
