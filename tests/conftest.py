"""Fixtures and rules shared by every test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from stackwright.build import build
from tests.asked_world import build_asked_run, make_asked_repositories
from tests.corpus import make_repositories, small_recipe

_missing_programs: set[str] = set()


def _redaction_key(factory: pytest.TempPathFactory) -> Path:
    path = factory.getbasetemp() / "redaction.key"
    if not path.exists():
        path.write_bytes(b"k" * 32)
        path.chmod(0o600)
    return path


def _signing_key(factory: pytest.TempPathFactory) -> Path:
    path = factory.getbasetemp() / "signing.key"
    if not path.exists():
        key = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.chmod(0o600)
    return path


@pytest.fixture(autouse=True, scope="session")
def _own_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every test, and every run that fixtures build, redacts and signs with fixed keys and leaves the user's own alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STACKWRIGHT_KEY_FILE", str(_redaction_key(tmp_path_factory)))
        patch.setenv("STACKWRIGHT_SIGNING_KEY_FILE", str(_signing_key(tmp_path_factory)))
        yield


@pytest.fixture
def needs_program() -> Callable[[str], str]:
    """Return the path of a program, or skip the test and have the summary say `not run: PROGRAM`."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            _missing_programs.add(program)
            pytest.skip(f"{program} is not installed")
        return path

    return find


@pytest.fixture
def shared_data() -> Path:
    """Return the folder of benchmark and PII data, or skip with the reason."""
    folder = os.environ.get("STACKWRIGHT_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("STACKWRIGHT_DATA does not name the folder of benchmark and PII data")
    return Path(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for program in sorted(_missing_programs):
        terminalreporter.write_line(f"not run: {program}")


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small repositories; tests do not change it."""
    return make_repositories(tmp_path_factory.mktemp("world") / "repositories")


@pytest.fixture(scope="session")
def finished_run(repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every stage over the small repositories; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STACKWRIGHT_KEY_FILE", str(_redaction_key(tmp_path_factory)))
        build(small_recipe(repositories), folder, workers=1)
    return folder


@pytest.fixture(scope="session")
def asked_repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories that people ask about; tests do not change them."""
    return make_asked_repositories(tmp_path_factory.mktemp("asked") / "repositories")


@pytest.fixture(scope="session")
def asked_run(asked_repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run up to the dataset over repositories that people ask about; tests that change it take a copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STACKWRIGHT_KEY_FILE", str(_redaction_key(tmp_path_factory)))
        return build_asked_run(asked_repositories, tmp_path_factory.mktemp("runs") / "asked")


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may damage."""
    return Path(shutil.copytree(finished_run, tmp_path / "copy"))
