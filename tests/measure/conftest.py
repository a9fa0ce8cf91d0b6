"""A local index with three packages of our own, which pip and npm are set to use and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stackwright.measure import index_page
from tests.measure.packages import serve, write_index


@dataclass(frozen=True)
class LocalIndex:
    """`asked` grows with every request; `marker` appears if anything of a package is executed."""

    address: str
    folder: Path
    asked: list[str]
    marker: Path


@pytest.fixture
def local_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalIndex]:
    folder, marker = tmp_path / "index", tmp_path / "executed"
    for name in [name for name in os.environ if name.upper().startswith(("PIP_", "NPM_CONFIG_"))]:
        monkeypatch.delenv(name)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with serve(folder) as (address, asked):
        write_index(folder, marker, address)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        monkeypatch.setenv("npm_config_registry", address)
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm-cache"))
        for name in ("userconfig", "globalconfig"):
            monkeypatch.setenv(f"npm_config_{name}", str(tmp_path / name))  # neither is there
        index_page.pip_settings.cache_clear()
        yield LocalIndex(address, folder, asked, marker)
        index_page.pip_settings.cache_clear()
