"""Archives come from the indexes that pip and npm are set to use, exactly those that were named, and nothing is executed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stackwright.errors import SourceError
from stackwright.measure import clients
from stackwright.measure.clients import fetch_archive
from tests.measure.conftest import LocalIndex
from tests.measure.packages import PACK, SDIST, WHEEL


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


def test_wheel_of_another_platform_and_python_is_fetched_by_its_name(local_index: LocalIndex, empty: Path) -> None:
    path = fetch_archive(WHEEL, empty)
    assert path == empty / WHEEL.file
    assert path.read_bytes() == (local_index.folder / "files" / WHEEL.file).read_bytes()
    assert not local_index.marker.exists()


def test_source_archive_is_fetched_without_running_its_setup(local_index: LocalIndex, empty: Path) -> None:
    path = fetch_archive(SDIST, empty)
    assert path.read_bytes() == (local_index.folder / "files" / SDIST.file).read_bytes()
    assert not local_index.marker.exists()


def test_npm_package_is_fetched_without_running_its_scripts(
    local_index: LocalIndex, empty: Path, needs_program: Callable[[str], str]
) -> None:
    needs_program("npm")
    path = fetch_archive(PACK, empty)
    assert path.read_bytes() == (local_index.folder / "files" / PACK.file).read_bytes()
    assert not local_index.marker.exists()


@pytest.mark.usefixtures("local_index")
def test_version_that_is_not_there_is_refused_with_the_words_of_pip(empty: Path) -> None:
    with pytest.raises(SourceError, match=r"pip says: No matching distribution found for Small.Tools==1.3"):
        fetch_archive(replace(WHEEL, version="1.3"), empty)


@pytest.mark.usefixtures("local_index")
def test_another_wheel_of_the_same_version_is_refused(empty: Path) -> None:
    asked = replace(WHEEL, file="small_tools-1.2-cp39-abi3-win_arm64.whl")
    with pytest.raises(SourceError, match=rf"the index gave {WHEEL.file} where {asked.file} was asked for"):
        fetch_archive(asked, empty)


@pytest.mark.usefixtures("local_index")
def test_package_that_npm_does_not_know_is_refused_with_its_words(empty: Path, needs_program: Callable[[str], str]) -> None:
    needs_program("npm")
    with pytest.raises(SourceError, match="npm says: code E404"):
        fetch_archive(replace(PACK, package="@made/nothing"), empty)


def test_missing_npm_is_said(monkeypatch: pytest.MonkeyPatch, empty: Path) -> None:
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(SourceError, match=r"npm is not installed; install Node\.js"):
        fetch_archive(PACK, empty)


def test_missing_pip_is_said(monkeypatch: pytest.MonkeyPatch, empty: Path) -> None:
    def missing(name: str) -> str:
        raise clients.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(clients.metadata, "version", missing)
    with pytest.raises(SourceError, match="pip is not installed for this Python"):
        fetch_archive(WHEEL, empty)


def test_client_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, empty: Path) -> None:
    program = empty / "npm"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(empty), prepend=":")
    monkeypatch.setattr(clients, "CLIENT_SECONDS", 0.2)
    with pytest.raises(SourceError, match=r"npm did not answer within 0.2 seconds"):
        fetch_archive(PACK, empty)


@pytest.mark.parametrize(
    ("tag", "interpreter"),
    [("py2.py3", ("py", "3")), ("cp311", ("cp", "3.11")), ("py37", ("py", "3.7")), ("pp310", ("pp", "3.10"))],
)
def test_tag_of_a_wheel_names_the_interpreter(tag: str, interpreter: tuple[str, str]) -> None:
    assert clients._interpreter(tag) == interpreter


def test_wheel_with_an_unknown_tag_is_refused(empty: Path) -> None:
    with pytest.raises(SourceError, match="the wheel tag 'graal' is not understood"):
        fetch_archive(replace(WHEEL, file="small_tools-1.2-graal-none-any.whl"), empty)
