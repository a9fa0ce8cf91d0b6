"""Several processes that train one model: real launches by torchrun, on another number of ranks each time, some killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stackwright.artifact import load_artifact
from stackwright.build import build
from stackwright.errors import RecipeError
from stackwright.recipe import dump_recipe
from stackwright.train import ranks
from stackwright.train.checkpoint import latest_checkpoint
from stackwright.train.metrics import read_metrics
from stackwright.train.ranks import Ranks
from tests.corpus import small_recipe
from tests.train.test_trainer import make_trainer

ROOT = Path(__file__).parent.parent.parent
STEPS = 12


@pytest.fixture
def untrained(finished_run: Path, tmp_path: Path) -> Path:
    """A run of which everything is there that training reads."""
    shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "evaluation", "release"))
    return tmp_path / "run"


def launch(
    run: Path,
    repositories: Path,
    num_ranks: int,
    *overrides: str,
    killed: tuple[int, int] | None = None,
    fails: bool = False,
) -> str:
    """Build up to the training with several processes; returns what they wrote, after checking that they failed or not.

    Args:
        killed: a rank, and the step in whose checkpoint it dies.
    """
    recipe = run.parent / "small.toml"
    recipe.write_text(dump_recipe(small_recipe(repositories, *overrides)))
    program = (
        ["-m", "stackwright"] if killed is None else [str(ROOT / "tests" / "train" / "interrupted.py"), *map(str, killed)]
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(num_ranks)]
    command += [*program, "build", str(recipe), "--out", str(run), "--to", "train"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    output = done.stdout + done.stderr
    assert (done.returncode != 0) == (fails or killed is not None), output
    return output


def curve(checkpoints: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(checkpoints) if line["kind"] == "train"]


def under_way(run: Path) -> Path:
    (folder,) = run.glob(".building/checkpoints-*")
    return folder


def test_ranks_come_and_go_and_the_training_stays_the_same(finished_run: Path, untrained: Path, repositories: Path) -> None:
    """Two ranks, of which the second dies; four, of which the first dies; then one: beside a training by one alone."""
    launch(untrained, repositories, 2, killed=(1, 8))
    folder = under_way(untrained)
    assert latest_checkpoint(folder) == folder / "step-000004"
    assert (folder / ".step-000008.tmp").is_dir()
    assert sorted(path.name for path in (folder / "step-000004").glob("resume-*")) == [
        "resume-00001-of-00002.safetensors",
        "resume-00002-of-00002.safetensors",
    ]
    output = launch(untrained, repositories, 4, killed=(0, 12))
    assert "resuming with ranks 4 after 2: the weights will not be bit-exact" in output
    assert latest_checkpoint(folder) == folder / "step-000008"
    assert len(list((folder / "step-000008").glob("resume-*-of-00004.safetensors"))) == 4
    build(small_recipe(repositories), untrained, workers=1, to_stage="train")

    ours, alone = untrained / "checkpoints", finished_run / "checkpoints"
    assert [step for step, _ in curve(ours)] == list(range(STEPS))
    assert [loss for _, loss in curve(ours)] == pytest.approx([loss for _, loss in curve(alone)], rel=1e-3)
    for kind in ("samples", "tokens", "tokens_with_loss"):
        counts = [load_artifact(folder).manifest.content["counts"][kind] for folder in (ours, alone)]
        assert counts[0] == counts[1] > 0
    scores = [
        [line["bits_per_byte"] for line in read_metrics(folder) if line["kind"] == "validation"] for folder in (ours, alone)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)
    last = f"step-{STEPS:06d}"
    first, second = (load_file(folder / last / "model.safetensors") for folder in (ours, alone))
    for name, tensor in first.items():
        # No key's bias has an effect: softmax takes it out, its gradient is rounding alone, and Adam makes steps of it.
        if not name.endswith("c_attn.bias"):
            assert (tensor - second[name]).norm() < 0.01 * second[name].norm(), name
    assert not list(ours.glob(".step-*"))


def test_a_step_that_ranks_cannot_share_out_is_refused_by_each(untrained: Path, repositories: Path) -> None:
    output = launch(untrained, repositories, 5, "train.grad_accum_steps=3", fails=True)
    message = "a step of 12 samples (micro_batch_size 4 x grad_accum_steps 3) cannot be shared out evenly among 5 ranks"
    assert f"): {message}; start another number of processes" in output
    assert "stackwright (rank " in output


class SlowStore:
    """A store in which something is said only when its patience ran out once."""

    def __init__(self, complaint: str) -> None:
        self.complaint, self.asked = complaint, 0

    def get(self, _name: str) -> bytes:
        self.asked += 1
        if self.asked == 1:
            raise torch.distributed.DistStoreError(self.complaint)
        return b'{"folder": "runs/small"}'


def test_others_wait_longer_than_the_store_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages before the training may take days; the message is that of torch's own store."""
    store = SlowStore("wait timeout after 1800000ms, keys: /stackwright/order")
    monkeypatch.setattr(ranks, "_store", lambda: store)
    assert ranks.await_order() == {"folder": "runs/small"}
    assert store.asked == 2


def test_a_store_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_store", lambda: SlowStore("Broken pipe"))
    with pytest.raises(torch.distributed.DistStoreError, match="Broken pipe"):
        ranks.await_order()


def test_others_are_let_go_where_nothing_is_to_be_trained(run_copy: Path, repositories: Path) -> None:
    before = load_artifact(run_copy / "checkpoints").digest
    output = launch(run_copy, repositories, 2)
    assert "= train (unchanged)" in output
    assert load_artifact(run_copy / "checkpoints").digest == before


@pytest.mark.parametrize("size", [1, 2, 4])
def test_ranks_share_out_the_samples_of_a_step(finished_run: Path, tmp_path: Path, size: int) -> None:
    """Together they read the very samples that one reads."""
    overrides = ("train.grad_accum_steps=2", "train.micro_batch_size=4")
    alone = make_trainer(finished_run, tmp_path / "alone", *overrides)
    expected = np.concatenate([inputs.numpy() for inputs, _ in alone._batches()])
    found = []
    for rank in range(size):
        trainer = make_trainer(finished_run, tmp_path / "shared", *overrides, ranks=Ranks(rank, size, torch.device("cpu")))
        batches = [inputs.numpy() for inputs, _ in trainer._batches()]
        assert all(len(batch) == min(4, 8 // size) for batch in batches)
        found += batches
    assert np.array_equal(np.concatenate(found), expected)


def test_a_step_that_cannot_be_shared_out_is_refused(finished_run: Path, tmp_path: Path) -> None:
    message = r"a step of 4 samples \(micro_batch_size 4 x grad_accum_steps 1\) cannot be shared out evenly among 3 ranks"
    with pytest.raises(RecipeError, match=message):
        make_trainer(finished_run, tmp_path, ranks=Ranks(0, 3, torch.device("cpu")))


def test_dropout_differs_between_steps_and_ranks_and_is_the_same_again() -> None:
    from stackwright.train.trainer import _step_seed

    seeds = [_step_seed(seed, step, rank) for seed in (0, 1) for step in (0, 1) for rank in (0, 1)]
    assert len(set(seeds)) == 8
    assert _step_seed(1, 1, 1) == seeds[-1]


def test_a_process_without_a_launcher_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from stackwright.launch import launched_rank, launched_size

    for name, value in {"RANK": "3", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    assert (launched_rank(), launched_size()) == (0, 1)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1")
    assert (launched_rank(), launched_size()) == (3, 8)
