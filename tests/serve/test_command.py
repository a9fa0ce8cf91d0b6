"""What `stackwright serve` refuses to serve, in one line, before it listens."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from stackwright.errors import ArtifactError, CheckpointError, TargetError, UsageError
from stackwright.serve.run import ServeOptions, open_served


@pytest.fixture
def release(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run / "release", tmp_path / "release"))


def test_weights_with_a_tensor_missing_are_refused(release: Path) -> None:
    tensors = load_file(release / "model.safetensors")
    name = min(tensors)
    del tensors[name]
    save_file(tensors, release / "model.safetensors")
    with pytest.raises(CheckpointError, match=name):
        open_served(release, ServeOptions())


def test_pickled_weights_are_never_opened(release: Path) -> None:
    (release / "model.safetensors").rename(release / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="is a pickle, which can run code when it is opened"):
        open_served(release, ServeOptions())


def test_what_does_not_fit_together_is_refused(release: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="is not a folder"):
        open_served(tmp_path / "absent", ServeOptions())
    with pytest.raises(ArtifactError):
        open_served(release, ServeOptions(index=tmp_path))
    for policy in ("annotate", "block"):
        with pytest.raises(UsageError, match=f"policy {policy} needs an index of the training data; give --index"):
            open_served(release, ServeOptions(policy=policy))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="and no key is asked for"):
        open_served(release, ServeOptions(host="0.0.0.0"))
    keys = tmp_path / "keys"
    with pytest.raises(UsageError, match="cannot be read"):
        open_served(release, replace(ServeOptions(), api_key_file=keys))


def test_the_command_ends_in_one_line(finished_run: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "stackwright", "serve", str(finished_run), "--port", str(port)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.strip().splitlines() == [
        f"stackwright: 127.0.0.1:{port} cannot be listened at (Address already in use); give another --host or --port"
    ]
