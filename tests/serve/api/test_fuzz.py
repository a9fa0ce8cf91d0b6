"""No request that the server's own description allows, or nearly allows, makes it fail or gets past the description."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from tests.serve.page.server import serving


def test_nothing_that_is_sent_makes_the_server_fail(finished_run: Path, tmp_path: Path) -> None:
    with serving(Path(shutil.copytree(finished_run, tmp_path / "small", symlinks=True))) as address:
        config = tmp_path / "schemathesis.toml"
        config.write_text('[checks.negative_data_rejection]\nexpected-statuses = ["400", "404", "405", "413", "429"]\n')
        program = str(Path(sys.executable).parent / "schemathesis")
        command = [program, "--config-file", str(config), "run", address + "openapi.json"]
        command += ["--checks", "not_a_server_error,negative_data_rejection", "--mode", "all"]
        command += ["--phases", "coverage,fuzzing", "--max-examples", "25", "--generation-deterministic"]
        command += ["--suppress-health-check", "all", "--no-color"]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=110)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "Tested: 13" in result.stdout
        assert httpx.get(address + "ready", timeout=30).json() == {"status": "ready"}
