"""Forecasts: the laws on made-up trainings that obey them, and on a real small run from before it to after it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stackwright.build import build
from stackwright.errors import ArtifactError
from stackwright.forecast import (
    FOLDER,
    FORECAST_FILE,
    TRIALS_FILE,
    Outcome,
    Trial,
    errors_of,
    fit_loss,
    forecast,
    measured,
    predict,
    read_forecast,
    trial_recipes,
)
from stackwright.plan import Plan
from stackwright.recipe import load_recipe
from tests.corpus import small_recipe


def made_up_trials() -> list[Trial]:
    """Trainings of tiny's trials that follow the three laws exactly."""
    trials = []
    for recipe in trial_recipes(load_recipe("tiny")):
        plan = Plan.of(recipe)
        size, tokens, planned = plan.config.num_parameters(), plan.tokens, sum(plan.training_bytes().values())
        flops = plan.flops / recipe.train.steps
        loss = 0.4 + 30 * size**-0.35 + 200 * tokens**-0.5
        trials.append(Trial(size, tokens, flops, planned, 0.01 + flops / 2e11, loss, int(3e8 + 1.5 * planned)))
    return trials


def test_trials_have_three_sizes_and_three_budgets() -> None:
    recipes = trial_recipes(load_recipe("tiny"))
    assert [recipe.model.hidden_size for recipe in recipes] == [66] * 3 + [96] * 3 + [126] * 3
    assert [recipe.train.steps for recipe in recipes] == [100, 200, 400] * 3
    assert [recipe.train.warmup_steps for recipe in recipes[:3]] == [6, 12, 25]
    cost = [Plan.of(recipe).flops for recipe in recipes]
    assert sum(cost) < 0.6 * Plan.of(load_recipe("tiny")).flops


def test_laws_that_hold_are_found() -> None:
    recipe = load_recipe("tiny")
    plan, found = Plan.of(recipe), predict(recipe, made_up_trials())
    size = plan.config.num_parameters()
    assert found.bits_per_byte == pytest.approx(0.4 + 30 * size**-0.35 + 200 * plan.tokens**-0.5, rel=0.01)
    assert found.seconds == pytest.approx(1600 * (0.01 + plan.flops / 1600 / 2e11), rel=1e-6)
    assert found.peak_bytes == pytest.approx(3e8 + 1.5 * sum(plan.training_bytes().values()), rel=1e-6)


def test_no_law_rises_with_size_or_budget() -> None:
    """Whatever the trials say: noise of the other sign is not carried on."""
    trials = [
        Trial(10**5 * (1 + index // 3), 10**6 * (1 + index % 3), 1e9, 10**8, 0.1, 1.0 + 0.01 * index, 10**9)
        for index in range(9)
    ]
    loss = fit_loss(trials)
    assert loss(1e7, 1e9) <= loss(1e6, 1e9) <= loss(1e6, 1e8)
    assert loss(1e9, 1e12) >= 0


def test_errors_are_shares_of_what_was_measured() -> None:
    assert errors_of(Outcome(1.1, 90.0, 2e9), Outcome(1.0, 100.0, 2e9)) == {
        "bits_per_byte": pytest.approx(0.1),
        "seconds": pytest.approx(-0.1),
        "peak_bytes": 0.0,
    }


def test_a_run_is_forecast_before_it_is_trained_and_held_against_it_after(
    finished_run: Path, repositories: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run, ignore=shutil.ignore_patterns("checkpoints", "evaluation", "release"))
    recipe = small_recipe(repositories, "train.steps=32", "train.checkpoint_every=16")
    assert measured(run) is None
    predicted = forecast(recipe, run)
    trials = json.loads((run / FOLDER / TRIALS_FILE).read_text())["trials"]
    assert len(trials) == 9
    assert all(trial["bits_per_byte"] > 0 < trial["peak_bytes"] for trial in trials)
    (run / FOLDER / TRIALS_FILE).unlink()
    assert forecast(recipe, run) == predicted  # what was written is not made anew
    assert not (run / FOLDER / TRIALS_FILE).exists()
    build(recipe, run, workers=1, to_stage="train")
    actual = measured(run)
    assert actual is not None
    assert actual.bits_per_byte > 0
    assert predicted.bits_per_byte < min(trial["bits_per_byte"] for trial in trials)  # more of both, and so less loss
    assert errors_of(predicted, actual).keys() == {"bits_per_byte", "seconds", "peak_bytes"}
    assert read_forecast(small_recipe(repositories, "train.steps=33"), run) is None


def test_trials_that_were_done_are_kept_when_it_is_killed(
    finished_run: Path, repositories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run, ignore=shutil.ignore_patterns("checkpoints", "evaluation", "release"))
    recipe = small_recipe(repositories, "train.steps=32")
    forecast(recipe, run)
    saved = json.loads((run / FOLDER / TRIALS_FILE).read_text())
    (run / FOLDER / FORECAST_FILE).unlink()
    (run / FOLDER / TRIALS_FILE).write_text(json.dumps({**saved, "trials": saved["trials"][:8]}))
    monkeypatch.setattr("stackwright.forecast.trial_recipes", lambda recipe: trial_recipes(recipe)[:8])
    assert forecast(recipe, run).bits_per_byte > 0
    assert json.loads((run / FOLDER / TRIALS_FILE).read_text())["trials"] == saved["trials"][:8]


def test_a_run_without_tokens_is_refused(repositories: Path, tmp_path: Path) -> None:
    build(small_recipe(repositories), tmp_path / "run", workers=1, to_stage="collect")
    with pytest.raises(ArtifactError, match="tokens"):
        forecast(small_recipe(repositories), tmp_path / "run")
