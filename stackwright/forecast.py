"""What a training will end with, from a few small ones: held-out loss, time, memory.

In: a recipe, and a run of which the tokens are there. Nine trainings, of three sizes for three budgets, give

    bits per byte = E + A / parameters^alpha + B / tokens^beta       (Hoffmann et al., arXiv 2203.15556, equation 10)
    seconds of a step = a + b x FLOPs of a step
    peak of memory = c + d x bytes of weights, gradients, moments and activations (`footprint.py`)

and those give the forecast of the recipe. It is written down before the training (`plan/forecast.json` in the run) and not
touched after it, so that what came of it can be held against it.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stackwright.artifact import load_artifact
from stackwright.files import digest_of, write_json
from stackwright.log import Progress, SilentProgress
from stackwright.plan import Plan
from stackwright.recipe import Recipe
from stackwright.run_folder import check_run_folder

FOLDER, FORECAST_FILE, TRIALS_FILE = "plan", "forecast.json", "trials.json"

WIDTHS = (1 / 3, 1 / 2, 2 / 3)
BUDGETS = (1 / 16, 1 / 8, 1 / 4)
"""Of the width and of the steps of the recipe. The largest trial has 13 % of the FLOPs of tiny's training, all have 49 %."""

_EXPONENTS = np.arange(0.1, 1.01, 0.05)
_WARM_UP = 5  # steps whose time is not counted

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What a training ends with: held-out bits per byte, seconds of all its steps, most bytes of memory."""

    bits_per_byte: float
    seconds: float
    peak_bytes: float


@dataclass(frozen=True)
class Trial:
    """A small training: its size, its budget, its outcome."""

    parameters: int
    tokens: int
    flops_per_step: float
    planned_bytes: int
    seconds_per_step: float
    bits_per_byte: float
    peak_bytes: int


def trial_recipes(recipe: Recipe) -> list[Recipe]:
    """Return the recipes of the trials, from the smallest on."""
    trials = []
    for share, budget in itertools.product(WIDTHS, BUDGETS):
        model, train = recipe.model, recipe.train
        multiple = 2 * model.num_heads  # an even width for every head
        width = max(round(share * model.hidden_size / multiple), 1) * multiple
        steps = max(round(budget * train.steps), 2)
        inner = None if model.intermediate_size is None else max(round(share * model.intermediate_size), 1)
        changed = {
            "steps": steps,
            "warmup_steps": round(budget * train.warmup_steps),
            "decay_steps": None if train.decay_steps is None else max(round(budget * train.decay_steps), 1),
            "eval_every": steps,
            "checkpoint_every": steps,
        }
        trials.append(
            recipe.model_copy(
                update={
                    "model": model.model_copy(update={"hidden_size": width, "intermediate_size": inner}),
                    "train": train.model_copy(update=changed),
                    "long_context": None,
                }
            )
        )
    return trials


def run_trial(recipe: Recipe, run: Path) -> Trial:
    """Train a recipe on the tokens of a run, in this process, and return what came of it."""
    from stackwright.train.metrics import read_metrics
    from stackwright.train.phases import Phase
    from stackwright.train.trainer import TrainData, Trainer

    with tempfile.TemporaryDirectory() as name:
        data = TrainData.open(load_artifact(run / "tokens"), run / "tokenizer", recipe)
        trainer = Trainer(Phase(recipe), data, Path(name))
        trainer.run()
        lines = read_metrics(Path(name))
    seconds, plan = [line["seconds"] for line in lines if line["kind"] == "train"], Plan.of(recipe)
    return Trial(
        parameters=trainer.config.num_parameters(),
        tokens=plan.tokens,
        flops_per_step=plan.flops / recipe.train.steps,
        planned_bytes=sum(plan.training_bytes().values()),
        seconds_per_step=statistics.median(seconds[_WARM_UP:] or seconds),
        bits_per_byte=next(line["bits_per_byte"] for line in reversed(lines) if line["kind"] == "validation"),
        peak_bytes=max(line["peak_bytes"] for line in lines if line["kind"] == "memory"),
    )


def forecast(recipe: Recipe, run: Path, progress: Progress | None = None) -> Outcome:
    """Return the forecast of a recipe's training in a run; trials that were done are not done again.

    Raises:
        TargetError: the folder is no run.
        ArtifactError: it has no tokens yet.
    """
    check_run_folder(run)
    key, folder = _key(recipe, run), run / FOLDER
    written = _read_forecast(run, key)
    if written is not None:
        return written
    saved: dict[str, Any] = _read(folder / TRIALS_FILE)
    done: list[Any] = saved.get("trials", []) if saved.get("key") == key else []
    recipes = trial_recipes(recipe)
    task = (progress or SilentProgress()).task("trials", len(recipes), "trainings")
    task.advance(len(done))
    for trial in recipes[len(done) :]:
        # A process of its own: the peak of memory is that of one training.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            done.append(asdict(pool.submit(run_trial, trial, run).result()))
        write_json(folder / TRIALS_FILE, {"key": key, "trials": done})
        task.advance(1)
    outcome = predict(recipe, [Trial(**trial) for trial in done])
    write_json(folder / FORECAST_FILE, {"key": key, "forecast": asdict(outcome)})
    return outcome


def predict(recipe: Recipe, trials: Sequence[Trial]) -> Outcome:
    """Return what the laws say of a recipe (its base part), fitted to the trials."""
    plan = Plan.of(recipe.model_copy(update={"long_context": None}))
    planned = sum(Plan.of(recipe).training_bytes().values())
    of_step = _line([trial.flops_per_step for trial in trials], [trial.seconds_per_step for trial in trials])
    of_memory = _line([trial.planned_bytes for trial in trials], [trial.peak_bytes for trial in trials])
    steps = recipe.train.steps
    loss = fit_loss(trials)(plan.config.num_parameters(), plan.tokens)
    return Outcome(loss, of_step(plan.flops / steps) * steps, of_memory(planned))


def fit_loss(trials: Sequence[Trial]) -> Callable[[float, float], float]:
    """Return bits per byte as a function of parameters and tokens, by least squares with no negative term."""
    sizes, budgets = (np.array([getattr(trial, name) for trial in trials], float) for name in ("parameters", "tokens"))
    values = np.array([trial.bits_per_byte for trial in trials])
    best: tuple[float, float, float, Floats] = (np.inf, 0.0, 0.0, np.zeros(3))
    for alpha, beta in itertools.product(_EXPONENTS, _EXPONENTS):
        columns = np.stack([np.ones(len(trials)), sizes**-alpha, budgets**-beta], axis=1)
        factors, error = _least_squares(columns, values)
        if error < best[0]:
            best = (error, float(alpha), float(beta), factors)
    _, alpha, beta, (irreducible, of_size, of_budget) = best
    return lambda parameters, tokens: float(irreducible + of_size * parameters**-alpha + of_budget * tokens**-beta)


def read_forecast(recipe: Recipe, run: Path) -> Outcome | None:
    """Return the forecast that was written for this recipe and these tokens, or None."""
    return _read_forecast(run, _key(recipe, run))


def measured(run: Path) -> Outcome | None:
    """Return the outcome of a run's training (its base part), or None where it is not finished."""
    from stackwright.train.metrics import read_metrics

    checkpoints = run / "checkpoints"
    if not checkpoints.is_dir():
        return None
    steps = load_artifact(checkpoints).manifest.content["config"]["train"]["steps"]
    lines = [line for line in read_metrics(checkpoints) if line["step"] <= steps]
    found = {kind: [line for line in lines if line["kind"] == kind] for kind in ("train", "validation", "memory")}
    if not all(found.values()):
        return None
    return Outcome(
        found["validation"][-1]["bits_per_byte"],
        sum(line["seconds"] for line in found["train"] if line["step"] < steps),
        max(line["peak_bytes"] for line in found["memory"]),
    )


def errors_of(predicted: Outcome, actual: Outcome) -> dict[str, float]:
    """Return by how much the forecast is too high, as a share of what was measured."""
    return {name: getattr(predicted, name) / value - 1 for name, value in asdict(actual).items()}


def _key(recipe: Recipe, run: Path) -> str:
    values: Mapping[str, Any] = recipe.model_dump(mode="json")
    sections = {name: values[name] for name in ("data", "model", "train", "seed")}
    return digest_of({**sections, "tokens": load_artifact(run / "tokens").digest})


def _read_forecast(run: Path, key: str) -> Outcome | None:
    written = _read(run / FOLDER / FORECAST_FILE)
    return Outcome(**written["forecast"]) if written.get("key") == key else None


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return value


def _line(places: Sequence[float], values: Sequence[float]) -> Callable[[float], float]:
    """Return the straight line through points that is nearest to them, with neither a negative slope nor offset."""
    scale = max(places)
    columns = np.stack([np.ones(len(places)), np.array(places, float) / scale], axis=1)
    (offset, slope), _ = _least_squares(columns, np.array(values, float))
    return lambda place: float(offset + slope * place / scale)


def _least_squares(columns: Floats, values: Floats) -> tuple[Floats, float]:
    """Return factors of the columns, none negative, and the sum of squares that they leave: the best of all supports."""
    best = (np.zeros(columns.shape[1]), float(values @ values))
    for size in range(1, columns.shape[1] + 1):
        for chosen in itertools.combinations(range(columns.shape[1]), size):
            found = np.linalg.lstsq(columns[:, chosen], values, rcond=None)[0]
            rest = values - columns[:, chosen] @ found
            if (found >= 0).all() and float(rest @ rest) < best[1]:
                factors = np.zeros(columns.shape[1])
                factors[list(chosen)] = found
                best = (factors, float(rest @ rest))
    return best
