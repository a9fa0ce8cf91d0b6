"""Checkpoints under bad conditions: a full disk, damage, another recipe, values that are no numbers."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stackwright.artifact import load_artifact
from stackwright.build import build
from stackwright.errors import CheckpointError, NonFiniteLossError
from stackwright.model.tensor_file import save_tensors
from stackwright.train import checkpoint as module
from stackwright.train.checkpoint import latest_checkpoint, moments_file
from stackwright.train.metrics import read_metrics
from stackwright.train.trainer import Trainer
from tests.corpus import small_recipe
from tests.train.test_trainer import make_trainer, state_of

MOMENTS = moments_file(0, 1)


def test_a_full_disk_leaves_the_last_checkpoint_and_training_goes_on_when_there_is_room(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_trainer(finished_run, tmp_path / "whole").run()
    make_trainer(finished_run, tmp_path / "full").run(stop_at=4)
    with monkeypatch.context() as patch:
        # The kernel's own disk that is full.
        patch.setattr(module, "save_tensors", lambda _path, tensors: save_tensors(Path("/dev/full"), tensors))
        with pytest.raises(OSError, match="No space left") as caught:
            make_trainer(finished_run, tmp_path / "full").run()
    assert caught.value.errno == errno.ENOSPC
    checkpoint = latest_checkpoint(tmp_path / "full")
    assert checkpoint is not None
    assert checkpoint.name == "step-000004"
    make_trainer(finished_run, tmp_path / "full").run()
    assert state_of(tmp_path / "full") == state_of(tmp_path / "whole")
    assert not list((tmp_path / "full").glob(".step-*"))


def damage(checkpoint: Path, kind: str) -> None:
    if kind == "no moments":
        (checkpoint / MOMENTS).unlink()
    elif kind == "moments cut short":
        data = (checkpoint / MOMENTS).read_bytes()
        (checkpoint / MOMENTS).write_bytes(data[: len(data) // 2])
    elif kind == "a moment missing":
        tensors = load_file(checkpoint / MOMENTS)
        del tensors["final_norm.bias:mean"]
        save_file(tensors, checkpoint / MOMENTS)
    elif kind == "fewer rows":
        tensors = load_file(checkpoint / MOMENTS)
        tensors["final_norm.bias:mean"] = tensors["final_norm.bias:mean"][:-1]
        save_file(tensors, checkpoint / MOMENTS)
    elif kind == "state is no JSON":
        (checkpoint / "resume.json").write_text("{")
    else:
        state = json.loads((checkpoint / "resume.json").read_text())
        (checkpoint / "resume.json").write_text(json.dumps({**state, "steps": 4} if kind == "unknown field" else {}))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no moments", rf"{MOMENTS} is missing or damaged .*; remove .*step-000004, to go on from the checkpoint before"),
        ("moments cut short", rf"{MOMENTS} is missing or damaged"),
        ("a moment missing", r"holds 0 rows of final_norm.bias:mean, the model has 32"),
        ("fewer rows", r"holds 31 rows of final_norm.bias:mean, the model has 32"),
        ("state is no JSON", r"resume.json is damaged"),
        ("unknown field", r"resume.json is damaged .*'steps'"),
        ("no fields", r"resume.json is damaged .*'step'"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(finished_run: Path, tmp_path: Path, kind: str, message: str) -> None:
    make_trainer(finished_run, tmp_path).run(stop_at=4)
    damage(tmp_path / "step-000004", kind)
    with pytest.raises(CheckpointError, match=message):
        make_trainer(finished_run, tmp_path).run()


def test_weights_that_are_no_numbers_stop_the_first_step(finished_run: Path, tmp_path: Path) -> None:
    make_trainer(finished_run, tmp_path).run(stop_at=4)
    path = tmp_path / "step-000004" / "model.safetensors"
    tensors = load_file(path)
    tensors["transformer.ln_f.weight"][3] = torch.nan
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(NonFiniteLossError, match=r"the loss of step 4 is nan; the weights were not changed"):
        make_trainer(finished_run, tmp_path).run()


def test_another_recipe_does_not_go_on_from_what_a_killed_one_left(
    finished_run: Path, repositories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run, ignore=shutil.ignore_patterns("checkpoints", "evaluation", "release"))

    class KilledError(Exception):
        pass

    def killed(self: Trainer) -> object:
        if self.state.step == 5:
            raise KilledError
        return step(self)

    step = Trainer._step
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", killed)
        with pytest.raises(KilledError):
            build(small_recipe(repositories), run, workers=1, to_stage="train")
    (left,) = run.glob(".building/checkpoints-*")
    assert (left / "step-000004").is_dir()
    build(small_recipe(repositories, "train.peak_lr=0.002"), run, workers=1, to_stage="train")
    rates = [line["lr"] for line in read_metrics(run / "checkpoints") if line["kind"] == "train"]
    assert len(rates) == 12
    assert max(rates) == 0.002
    assert not left.exists()
    build(small_recipe(repositories), run, workers=1, to_stage="train")
    assert load_artifact(run / "checkpoints").digest == load_artifact(finished_run / "checkpoints").digest
