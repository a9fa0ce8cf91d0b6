"""The `directory` source: a folder that is one repository, or that holds one repository per sub-folder.

A repository's revision is the commit of HEAD when its folder is the top of a git work tree, else `unversioned`. Its licence
is what its package metadata declares (pyproject.toml, package.json, Cargo.toml), else what the recipe says of the source.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from stackwright.errors import SourceError
from stackwright.recipe import DirectorySource
from stackwright.sources.repository import Repository, iter_tree, printable_path, sorted_files

KIND = "directory"
UNVERSIONED = "unversioned"
GIT_SECONDS = 20


def list_directory(settings: DirectorySource) -> list[Repository]:
    """Return the repositories of a folder. Raises `SourceError` when it is missing or holds none."""
    root = Path(settings.path)
    if not root.exists():
        raise SourceError(f"source folder {settings.path} does not exist", "mend sources.path in the recipe")
    if not root.is_dir():
        raise SourceError(f"source {settings.path} is not a folder", "give the folder that holds the code")
    if settings.layout == "repository":
        return [_repository(root.resolve(), settings)]
    try:
        folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink())
    except OSError as error:
        raise SourceError(
            f"source folder {settings.path} cannot be read ({error.strerror})", "mend its permissions"
        ) from error
    if not folders:
        raise SourceError(
            f"source folder {settings.path} holds no sub-folder, and layout 'repositories' takes one per repository",
            "use layout 'repository', or give the parent folder",
        )
    return [_repository(folder, settings) for folder in folders]


def _repository(folder: Path, settings: DirectorySource) -> Repository:
    revision, date = _git_revision(folder)
    declared, origin = _declared_license(folder)
    if declared is None and settings.license is not None:
        declared, origin = settings.license, "recipe"
    return Repository(
        repo=f"{KIND}/{printable_path(folder.name)}",
        revision=revision,
        source=KIND,
        files=sorted_files(iter_tree(folder)),
        revision_date=date,
        declared_license=declared,
        license_origin=origin,
    )


def _git_revision(folder: Path) -> tuple[str, datetime.datetime | None]:
    """Return commit and date of HEAD when the folder is the top of a work tree, without running anything it configures."""
    if not (folder / ".git").exists():
        return UNVERSIONED, None
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**clean, "GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0"}
    # The folder may belong to someone else, and its configuration may name programs: neither matters for reading HEAD.
    safe = ["-c", f"safe.directory={folder}", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    command = ["git", *safe, "-C", str(folder), "log", "-1", "--no-show-signature", "--format=%H %ct"]
    try:
        result = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return UNVERSIONED, None
    commit, _, seconds = result.stdout.strip().partition(" ")
    if result.returncode != 0 or not seconds:
        return UNVERSIONED, None
    return commit, datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def _declared_license(folder: Path) -> tuple[str | None, str | None]:
    """Return the first licence that the package metadata of a repository declares, and the file that does."""
    readers = (("pyproject.toml", _from_pyproject), ("package.json", _from_package_json), ("Cargo.toml", _from_cargo))
    for name, reader in readers:
        path = folder / name
        if path.is_file() and not path.is_symlink():
            try:
                found = reader(path.read_bytes())
            except (ValueError, OSError, RecursionError):
                continue  # a damaged file declares nothing
            if isinstance(found, str) and found.strip():
                return found.strip(), name
    return None, None


def _from_pyproject(data: bytes) -> Any:
    value = _table(tomllib.loads(data.decode("utf-8")), "project").get("license")
    return value.get("text") if isinstance(value, dict) else value


def _from_cargo(data: bytes) -> Any:
    value = _table(tomllib.loads(data.decode("utf-8")), "package").get("license")
    return value.replace("/", " OR ") if isinstance(value, str) else None  # the old way to write a choice


def _from_package_json(data: bytes) -> Any:
    value = json.loads(data)
    license_value = value.get("license") if isinstance(value, dict) else None
    return license_value.get("type") if isinstance(license_value, dict) else license_value


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    table = values.get(name)
    return table if isinstance(table, dict) else {}
