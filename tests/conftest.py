"""Fixtures and rules shared by every test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

_missing_programs: set[str] = set()


@pytest.fixture(autouse=True)
def _own_redaction_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test redacts under one fixed key and leaves the user's own alone."""
    path = tmp_path_factory.getbasetemp() / "redaction.key"
    if not path.exists():
        path.write_bytes(b"k" * 32)
        path.chmod(0o600)
    monkeypatch.setenv("STACKWRIGHT_KEY_FILE", str(path))


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
