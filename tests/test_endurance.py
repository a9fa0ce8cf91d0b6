"""Whatever happens to a build in whatever stage, nothing half-done is taken for done, and the next build ends the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stackwright.artifact import load_artifact
from stackwright.build import build
from stackwright.errors import ArtifactError
from stackwright.stages import STAGES
from tests.corpus import small_recipe
from tests.test_build import FOLDERS, digests, start_build, statuses

ROOT = Path(__file__).parent.parent
STAGE_NAMES = [stage.name for stage in STAGES]

COMMAND = """
import sys
from pathlib import Path
from stackwright import cli
from stackwright.recipe import load_recipe
from tests.corpus import small_recipe
recipe = small_recipe(Path(sys.argv[1]))
cli.load_recipe = lambda name, overrides: recipe  # the small recipe has no file of its own
sys.argv = ["stackwright", "build", "small", "--workers", "1", "--out", *sys.argv[2:]]
cli.main()
"""
"""The real command line, with the recipe of the tests."""


def run_command(repositories: Path, run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, str(repositories), str(run), *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)


def staged_folder(run: Path, stage: str) -> Path | None:
    """Return the folder that the stage is filling, once it has begun."""
    folder = next(entry.folder for entry in STAGES if entry.name == stage)
    return next(iter(run.glob(f".building/{folder}-*")), None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_a_build_stopped_in_every_stage_ends_as_one_that_was_not(
    number: signal.Signals, finished_run: Path, repositories: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    hit = set()
    for stage in STAGE_NAMES:
        process = start_build(repositories, run) if number == signal.SIGKILL else start_command(repositories, run)
        while process.poll() is None and staged_folder(run, stage) is None:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(number)
            hit.add(stage)
        assert process.wait() in ((-signal.SIGKILL, 0) if number == signal.SIGKILL else (1, 0))
    # A stage may be over before the signal comes; most are not.
    assert len(hit) >= len(STAGE_NAMES) // 2
    build(small_recipe(repositories), run, workers=1)
    assert digests(run, FOLDERS) == digests(finished_run, FOLDERS)


def start_command(repositories: Path, run: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", COMMAND, str(repositories), str(run), "--json"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_terminated_build_says_what_to_do(repositories: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMAND, str(repositories), str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while staged_folder(tmp_path / "run", "collect") is None:
        assert process.poll() is None
        time.sleep(0.002)
    process.terminate()
    _, errors = process.communicate()
    assert (process.returncode, errors.strip()) == (
        1,
        "stackwright: stopped; finished parts are kept, and the same command goes on from them",
    )


DISK_FULL = """
import os, shutil, subprocess, sys
from pathlib import Path
repositories, command, disk, result = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
ballast = disk / "ballast"

def build(stage):
    arguments = [sys.executable, "-c", command, repositories, str(disk / "run"), "--to", stage]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)

for stage in sys.argv[5:]:
    with ballast.open("wb") as file:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        os.posix_fallocate(file.fileno(), 0, free - 16_384)
    full = build(stage)
    under_way = [entry.name for entry in (disk / "run" / ".building").glob("*")]
    print(stage, full.returncode, full.stderr.strip(), "|", *under_way)
    ballast.unlink()
    assert build(stage).returncode == 0
shutil.copytree(disk / "run", result)
"""


def test_a_full_disk_stops_every_stage_with_one_line_and_no_harm(
    finished_run: Path, repositories: Path, tmp_path: Path, needs_program: Callable[[str], str]
) -> None:
    """Each stage begins on a disk with room for four pages, and is built again when there is room."""
    disk, result = tmp_path / "disk", tmp_path / "result"
    disk.mkdir()
    as_root_of_own_mounts = [needs_program("unshare"), "--map-root-user", "--mount", sys.executable, "-c", DISK_FULL]
    arguments = [str(repositories), COMMAND, str(disk), str(result), *STAGE_NAMES]
    done = subprocess.run(
        [*as_root_of_own_mounts, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=115
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(STAGES), done.stdout
    for stage, line in zip(STAGES, lines, strict=True):
        assert line.startswith(f"{stage.name} 1 stackwright: no space left on the device (")
        assert f"| {stage.folder}-" in line  # the stage had begun
    assert digests(result, FOLDERS) == digests(finished_run, FOLDERS)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage.inputs], ids=lambda stage: stage.name)
def test_a_removed_input_is_named_and_nothing_is_made(stage: object, run_copy: Path, repositories: Path) -> None:
    assert isinstance(stage, type(STAGES[0]))
    shutil.rmtree(run_copy / stage.folder)
    for name in stage.inputs:
        files = load_artifact(run_copy / name).manifest.content["files"]
        missing = run_copy / name / max(files)
        data = missing.read_bytes()
        missing.unlink()
        with pytest.raises(
            ArtifactError, match=rf"{missing.name} is missing.*; remove .* and run `stackwright build` again"
        ):
            build(small_recipe(repositories), run_copy, to_stage=stage.name)
        assert not (run_copy / stage.folder).exists()
        missing.write_bytes(data)
    outcomes = build(small_recipe(repositories), run_copy, to_stage=stage.name)
    assert statuses(outcomes)[stage.name] == "ran"


def test_an_input_that_goes_away_under_way_is_named(
    run_copy: Path, repositories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, os.strerror(2), str(run_copy / "tokens" / "part-00000.tokens"))

    monkeypatch.setattr("stackwright.train.trainer.run_train", lose)
    with pytest.raises(ArtifactError, match=r"part-00000.tokens went away while the stage train was at work; put it back"):
        build(small_recipe(repositories, "train.peak_lr=0.002"), run_copy)


def test_a_source_that_is_removed_between_two_builds_is_named(repositories: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(repositories, tmp_path / "copied", symlinks=True))
    build(small_recipe(copy), tmp_path / "run", workers=1, to_stage="curate")
    shutil.rmtree(copy)
    result = run_command(copy, tmp_path / "run")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "does not exist; mend sources.path" in result.stderr
