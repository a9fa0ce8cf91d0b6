"""Sources list repositories with revision and declared licence, in a fixed order."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from stackwright.errors import SourceError
from stackwright.recipe import DirectorySource, InstalledSource
from stackwright.sources.collect import list_repositories
from stackwright.sources.directory import list_directory
from stackwright.sources.installed import list_installed
from stackwright.sources.repository import listing_digest
from tests.corpus import write


def test_distributions_are_repositories_with_version_and_licence() -> None:
    found = {repository.repo: repository for repository in list_installed(InstalledSource(kind="installed"))}
    pydantic = found["installed/pydantic"]
    assert pydantic.revision == metadata.version("pydantic")
    assert pydantic.declared_license == "MIT"
    paths = [entry.path for entry in pydantic.files]
    assert "pydantic/main.py" in paths
    assert paths == sorted(paths)
    assert "installed/stackwright" not in found


def test_what_the_installer_wrote_is_left_out() -> None:
    for repository in list_installed(InstalledSource(kind="installed")):
        for entry in repository.files:
            assert not entry.path.endswith((".pyc", ".dist-info/RECORD", ".dist-info/INSTALLER", "direct_url.json"))
            assert ".." not in entry.path.split("/")


def test_standard_library_is_a_repository_without_what_was_built_here() -> None:
    found = list_installed(InstalledSource(kind="installed", include=("pydantic",)))
    assert [repository.repo for repository in found] == ["installed/pydantic", "installed/python-stdlib"]
    paths = {entry.path for entry in found[1].files}
    assert "this.py" in paths
    assert not any(path.startswith(("site-packages/", "config-", "_sysconfigdata")) for path in paths)
    assert list_installed(InstalledSource(kind="installed", include=("Pydantic",), standard_library=False))[0].repo == (
        "installed/pydantic"
    )
    excluded = list_installed(InstalledSource(kind="installed", exclude=("PYDANTIC",)))
    assert "installed/pydantic" not in {repository.repo for repository in excluded}


@pytest.mark.parametrize(
    ("name", "content", "declared"),
    [
        ("pyproject.toml", '[project]\nlicense = "MIT OR Apache-2.0"\n', "MIT OR Apache-2.0"),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD-3-Clause"}\n', "BSD-3-Clause"),
        ("pyproject.toml", "[project]\nlicense = {file = 'x'}\n", None),
        ("pyproject.toml", "[tool]\n", None),
        ("pyproject.toml", "not toml", None),
        ("package.json", '{"license": "ISC"}', "ISC"),
        ("package.json", '{"license": {"type": "MIT"}}', "MIT"),
        ("package.json", "[1]", None),
        ("package.json", "{", None),
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"\n', "MIT OR Apache-2.0"),
        ("README.md", "MIT", None),
    ],
)
def test_declared_licence_of_a_folder(tmp_path: Path, name: str, content: str, declared: str | None) -> None:
    write(tmp_path / "repo" / name, content)
    [repository] = list_directory(DirectorySource(kind="directory", path=str(tmp_path / "repo")))
    assert repository.declared_license == declared
    assert repository.license_origin == (name if declared else None)
    assert repository.revision == "unversioned"
    [with_default] = list_directory(DirectorySource(kind="directory", path=str(tmp_path / "repo"), license="Zlib"))
    assert with_default.declared_license == (declared or "Zlib")


def test_revision_of_a_git_work_tree_is_its_commit(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    write(repo / "a.py", "x = 1\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run(["git", *identity, *command], cwd=repo, check=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repo, text=True).strip()
    [repository] = list_directory(DirectorySource(kind="directory", path=str(repo)))
    assert repository.revision == commit
    assert repository.revision_date is not None
    assert [entry.path for entry in repository.files] == ["a.py"]
    # A folder inside the work tree is not the repository that surrounds it.
    write(repo / "inner" / "b.py", "y = 1\n")
    [inner] = list_directory(DirectorySource(kind="directory", path=str(repo / "inner")))
    assert inner.revision == "unversioned"


def test_a_damaged_git_folder_is_unversioned(tmp_path: Path) -> None:
    write(tmp_path / "repo" / ".git", "gitdir: /nowhere\n")
    write(tmp_path / "repo" / "a.py", "x = 1\n")
    [repository] = list_directory(DirectorySource(kind="directory", path=str(tmp_path / "repo")))
    assert repository.revision == "unversioned"


def test_one_repository_from_two_sources_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "repo" / "a.py", "x = 1\n")
    source = DirectorySource(kind="directory", path=str(tmp_path / "repo"))
    with pytest.raises(SourceError, match=r"directory/repo@unversioned comes from two sources"):
        list_repositories([source, source])


def test_the_listing_digest_sees_every_change(tmp_path: Path) -> None:
    path = tmp_path / "repo" / "a.py"
    write(path, "x = 1\n")
    source = DirectorySource(kind="directory", path=str(tmp_path / "repo"))
    seen = [listing_digest(list_repositories([source]))]
    os.utime(path, ns=(1, 1))
    seen.append(listing_digest(list_repositories([source])))
    write(path, "x = 12\n")
    seen.append(listing_digest(list_repositories([source])))
    write(tmp_path / "repo" / "b.py", "")
    seen.append(listing_digest(list_repositories([source])))
    write(tmp_path / "repo" / "package.json", '{"license": "MIT"}')
    seen.append(listing_digest(list_repositories([source])))
    assert len(set(seen)) == len(seen)
