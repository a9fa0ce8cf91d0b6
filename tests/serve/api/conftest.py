"""Real servers of a small run, each in a process of its own, and real clients."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx
import openai
import pytest

from tests.serve.page.server import serving

KEY = "a-key-of-the-tests-0001"


@dataclass(frozen=True)
class Api:
    """A server that runs, and the run that it serves."""

    address: str
    run: Path

    @cached_property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.address + "v1", api_key="none", max_retries=0)

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return httpx.post(self.address + path, json=body, headers=headers, timeout=60)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.address + path, headers=headers, timeout=60)

    def metric(self, name: str) -> float:
        lines = self.get("metrics").text.splitlines()
        return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name + " ")))


@pytest.fixture(scope="session")
def api_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of its own, as requests are written into it."""
    return Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("api") / "small", symlinks=True))


@pytest.fixture(scope="session")
def api(api_run: Path) -> Iterator[Api]:
    with serving(api_run) as address:
        yield Api(address, api_run)


@pytest.fixture(scope="session")
def release_api(api_run: Path) -> Iterator[Api]:
    """A server of the release alone: a model without index and ledger."""
    with serving(api_run / "release") as address:
        yield Api(address, api_run)


@pytest.fixture(scope="session")
def keyed_api(api_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server that wants a key and takes one request at a time, none waiting."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# of the tests\n{KEY}\n\nanother-key-of-the-tests\n")
    file.chmod(0o600)
    with serving(api_run, "--api-key-file", str(file), "--max-batch", "1", "--max-waiting", "0") as address:
        yield Api(address, api_run)
