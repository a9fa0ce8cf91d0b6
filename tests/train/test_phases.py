"""A training in two parts: the second goes on from the first, on longer samples and another rotary base."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from stackwright.artifact import load_artifact
from stackwright.build import build
from stackwright.errors import CheckpointError, RecipeError
from stackwright.generate.load import load_model
from stackwright.recipe import Recipe, dump_recipe, load_recipe
from stackwright.train.checkpoint import latest_checkpoint
from stackwright.train.load_list import checkpoint_exposures
from stackwright.train.metrics import read_metrics
from stackwright.train.phases import Phase, phases_of
from stackwright.train.trainer import TrainData, Trainer
from tests.corpus import small_recipe
from tests.train.test_trainer import STARCODER2

LONG = (
    *STARCODER2,
    "long_context.steps=6",
    "long_context.seq_len=128",
    "long_context.rope_theta=50000.0",
    "long_context.sliding_window=32",
    "long_context.micro_batch_size=2",
    "long_context.peak_lr=0.0005",
)


def test_the_second_part_has_its_own_samples_schedule_and_context() -> None:
    recipe = small_recipe(Path("unused"), *LONG, "train.decay_steps=30")
    base, longer = phases_of(recipe)
    assert base == Phase(recipe)
    assert (base.last_step, longer.first_step, longer.last_step) == (12, 12, 18)
    assert (longer.recipe.model.max_seq_len, longer.recipe.model.rope_theta, longer.recipe.model.sliding_window) == (
        128,
        50000.0,
        32,
    )
    assert (longer.recipe.data.seq_len, longer.recipe.train.steps, longer.recipe.train.peak_lr) == (128, 6, 0.0005)
    assert longer.recipe.train.decay_steps is None
    assert longer.recipe.seed != recipe.seed
    assert longer.first_token == 12 * 4 * 64
    assert [longer.num_samples(step) for step in (0, 12, 13, 18, 99)] == [0, 0, 2, 12, 12]
    assert [base.num_samples(step) for step in (0, 12, 13)] == [0, 48, 48]


def test_a_recipe_without_one_has_one_part() -> None:
    assert phases_of(small_recipe(Path("unused"))) == (Phase(small_recipe(Path("unused"))),)


def test_the_recipe_keeps_the_section_when_it_is_written(tmp_path: Path) -> None:
    recipe = small_recipe(Path("unused"), *LONG)
    (tmp_path / "saved.toml").write_text(dump_recipe(recipe))
    assert load_recipe(str(tmp_path / "saved.toml")) == recipe


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("long_context.steps=1", "long_context.seq_len=128"), r"long_context.seq_len 128 must not exceed .*max_seq_len 64"),
        (
            ("long_context.steps=1", "long_context.seq_len=64", "long_context.rope_theta=5.0"),
            r'long_context.rope_theta 5.0 is for architecture "starcoder2", not "gpt_bigcode"',
        ),
        (("long_context.steps=1", "long_context.seq_len=64", "long_context.rope_thta=5.0"), r"did you mean .*rope_theta"),
    ],
)
def test_what_cannot_grow_is_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        small_recipe(Path("unused"), *overrides)


def trainer_of(run: Path, folder: Path, phase: Phase) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(phase, TrainData.open(load_artifact(run / "tokens"), run / "tokenizer", phase.recipe), folder)


@pytest.fixture(scope="module")
def long_run(finished_run: Path, repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("long") / "run"
    shutil.copytree(finished_run, run, ignore=shutil.ignore_patterns("checkpoints", "evaluation", "release"))
    build(small_recipe(repositories, *LONG), run, workers=1)
    return run


def test_a_run_goes_through_both_parts(long_run: Path) -> None:
    lines = [line for line in read_metrics(long_run / "checkpoints") if line["kind"] == "train"]
    assert [line["step"] for line in lines] == list(range(18))
    tokens = [line["tokens"] for line in lines]
    assert tokens[11:13] == [12 * 256, 12 * 256 + 256]
    assert tokens == sorted(tokens)
    assert lines[12]["lr"] == 0.0005  # its own schedule, from its own beginning
    losses = [line["loss"] for line in lines]
    assert max(losses[12:]) < losses[2]  # it went on, and did not begin anew
    counts = load_artifact(long_run / "checkpoints").manifest.content["counts"]
    assert (counts["steps"], counts["samples"], counts["tokens"]) == (18, 48 + 12, tokens[-1])
    configs = [
        json.loads((long_run / "checkpoints" / f"step-0000{step}" / "config.json").read_text()) for step in (12, 16, 18)
    ]
    assert [config["max_position_embeddings"] for config in configs] == [64, 128, 128]
    assert [config["rope_theta"] for config in configs] == [10000.0, 50000.0, 50000.0]
    assert [config["sliding_window"] for config in configs] == [16, 32, 32]
    assert load_model(long_run).model.config.max_seq_len == 128


@pytest.mark.parametrize("stop", [12, 13, 16])
def test_a_run_that_is_stopped_in_either_part_ends_in_the_same_weights(long_run: Path, tmp_path: Path, stop: int) -> None:
    recipe = small_recipe(Path("unused"), *LONG)
    base, longer = phases_of(recipe)
    trainer_of(long_run, tmp_path / "parts", base).run()
    if stop > 12:
        trainer_of(long_run, tmp_path / "parts", longer).run(stop_at=stop)
    trainer_of(long_run, tmp_path / "parts", longer).run()
    names = ("model.safetensors", "resume-00001-of-00001.safetensors", "resume.json")
    whole = long_run / "checkpoints" / "step-000018"
    for name in names:
        assert (tmp_path / "parts" / "step-000018" / name).read_bytes() == (whole / name).read_bytes()


def test_exposure_counts_the_samples_of_both_parts(long_run: Path, repositories: Path) -> None:
    """Beside the documents of every sample that was read."""
    recipe: Recipe = small_recipe(repositories, *LONG)
    tokens, times = load_artifact(long_run / "tokens"), Counter[int]()
    for phase in phases_of(recipe):
        loader = TrainData.open(tokens, long_run / "tokenizer", phase.recipe).loader
        for sample in range(phase.num_samples(18)):
            times.update(set(loader.documents_of(sample)))
    rows = load_artifact(long_run / "checkpoints").table("load_list").read()
    keys = list(zip(*(rows.column(name).to_pylist() for name in ("repo", "revision", "path")), strict=True))
    last = checkpoint_exposures(long_run, keys)[-1]
    assert last.step == 18
    assert {keys.index(key): count for key, count in last.times.items()} == dict(times)


def test_weights_of_another_shape_are_not_gone_on_from(long_run: Path, tmp_path: Path) -> None:
    base, longer = phases_of(small_recipe(Path("unused"), *LONG))
    trainer_of(long_run, tmp_path, base).run(stop_at=4)
    wider = longer.recipe.model_copy(update={"model": longer.recipe.model.model_copy(update={"num_layers": 3})})
    assert latest_checkpoint(tmp_path) is not None
    with pytest.raises(CheckpointError, match=r"a model of another shape: num_layers 2, the recipe says 3"):
        trainer_of(long_run, tmp_path, Phase(wider, 12)).run()
