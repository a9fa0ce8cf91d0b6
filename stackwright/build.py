"""The list of stages, and running those whose key has changed.

In: a recipe and a run folder. Out: the run folder with every artefact up to the last stage asked for. A stage is
skipped when its key (configuration, digests of its inputs, stage version, and for collect the listing of the sources)
is the one in the manifest that is already there. A stage that was killed goes on from the parts it had finished.
"""

from __future__ import annotations

import datetime
import fcntl
import importlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from stackwright import __version__
from stackwright.artifact import (
    FORMAT,
    MANIFEST,
    Artifact,
    Manifest,
    Staging,
    digest_of,
    load_artifact,
    publish,
    write_bytes,
    write_json,
)
from stackwright.engine import Engine, StageContext, available_cores
from stackwright.errors import ArtifactError, RunLockedError, TargetError, missing_extra, nearest_names
from stackwright.log import SilentProgress, file_log, get_logger
from stackwright.recipe import Recipe, dump_recipe

BUILDING = ".building"
RUN_FILE = "run.json"
RECIPE_FILE = "recipe.toml"
LOCK_FILE = ".lock"

logger = get_logger("build")


class _CallableModule(ModuleType):
    """Makes `stackwright.build(...)` work also after this module was imported and so took its function's name."""

    def __call__(self, *arguments: Any, **options: Any) -> list[StageOutcome]:
        return build(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule


@dataclass(frozen=True)
class Stage:
    """One stage: what it reads, the folder it writes, and where its code is.

    `module` is imported only when the stage runs; it holds `run_NAME(context) -> counts` and, where the stage writes
    tables, `TABLES` (name -> Arrow schema). `sections` are the recipe sections that decide the result.
    """

    name: str
    folder: str
    version: int
    module: str
    inputs: tuple[str, ...]
    sections: tuple[str, ...]
    extra_key: str | None = None  # a function of the module, (recipe) -> str, for what lies outside the recipe

    def config(self, recipe: Recipe) -> dict[str, Any]:
        values = recipe.model_dump(mode="json")
        return {section: values[section] for section in self.sections}

    def run(self, context: StageContext) -> Mapping[str, Any]:
        function: Callable[[StageContext], Mapping[str, Any]] = getattr(self._import(), f"run_{self.name}")
        return function(context)

    def tables(self) -> Mapping[str, Any]:
        return getattr(self._import(), "TABLES", {})

    def fingerprint(self, recipe: Recipe) -> str:
        if self.extra_key is None:
            return ""
        function: Callable[[Recipe], str] = getattr(self._import(), self.extra_key)
        return function(recipe)

    def _import(self) -> Any:
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            raise (missing_extra(error) or error) from None


STAGES = (
    Stage("collect", "corpus", 1, "stackwright.sources.collect", (), ("sources", "collect"), "collect_fingerprint"),
    Stage("curate", "dataset", 2, "stackwright.curate.stage", ("corpus",), ("curate", "seed"), "redaction_key_name"),
    Stage("tokenizer", "tokenizer", 1, "stackwright.tokenizer.training", ("dataset",), ("tokenizer", "seed")),
    Stage("tokens", "tokens", 1, "stackwright.tokenizer.token_shards", ("dataset", "tokenizer"), ()),
    Stage("index", "index", 1, "stackwright.attribute.stage", ("dataset",), ("index",)),
    Stage(
        "train",
        "checkpoints",
        1,
        "stackwright.train.trainer",
        ("tokens", "tokenizer"),
        ("data", "model", "train", "seed"),
    ),
    Stage(
        "evaluate",
        "evaluation",
        2,
        "stackwright.evaluate.stage",
        ("checkpoints", "tokens", "tokenizer", "dataset"),
        ("evaluate", "data", "seed"),
    ),
    Stage(
        "release",
        "release",
        1,
        "stackwright.release.stage",
        ("corpus", "dataset", "tokenizer", "tokens", "checkpoints", "evaluation"),
        ("name", "release"),
    ),
)
"""Every stage in order. Each reads finished artefacts and writes one."""

StageStatus = Literal["skipped", "ran", "would run", "would skip"]


@dataclass(frozen=True)
class StageOutcome:
    """What happened to one stage. `seconds` is the wall time when it ran here, else that of the run that made it."""

    stage: Stage
    status: StageStatus
    why: str
    manifest: Manifest | None
    seconds: float


class BuildObserver(SilentProgress):
    """Told about stages as they begin and end; the command line derives from it to draw."""

    def stage_started(self, stage: Stage, why: str) -> None:
        del stage, why

    def stage_ended(self, outcome: StageOutcome) -> None:
        del outcome


@dataclass
class _Run:
    """The state of one `build` call."""

    recipe: Recipe
    folder: Path
    engine: Engine
    observer: BuildObserver
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    fully_verified: set[str] = field(default_factory=set)


def build(
    recipe: Recipe,
    folder: Path,
    *,
    workers: int | None = None,
    memory_bytes: int | None = None,
    from_stage: str | None = None,
    to_stage: str | None = None,
    observer: BuildObserver | None = None,
) -> list[StageOutcome]:
    """Make or complete a run folder and return what happened to each stage.

    Args:
        workers: processes for the data stages; the machine's cores when not given.
        memory_bytes: bound of the summed resident memory of the data stages' process tree.
        from_stage: run this stage and those after it even when nothing changed.
        to_stage: stop after this stage.

    Raises:
        RunLockedError: another build holds the folder.
        ArtifactError: an artefact is half-written, changed or of another version.
    """
    stages = _chosen_stages(to_stage)
    forced = _forced_stages(from_stage)
    watcher = observer or BuildObserver()
    engine = Engine(workers or available_cores(), memory_bytes, watcher)
    _refuse_foreign_folder(folder)
    with lock_run(folder):
        _open_run_folder(folder, recipe)
        run = _Run(recipe, folder, engine, watcher)
        with file_log(folder / "build.log"):
            return [_build_stage(run, stage, forced=stage.name in forced) for stage in stages]


def plan_build(
    recipe: Recipe, folder: Path, *, from_stage: str | None = None, to_stage: str | None = None
) -> list[StageOutcome]:
    """Return what `build` would do, without doing it."""
    forced = _forced_stages(from_stage)
    outcomes: list[StageOutcome] = []
    digests: dict[str, str] = {}
    for stage in _chosen_stages(to_stage):
        unknown = [name for name in stage.inputs if name not in digests]
        manifest = _manifest_or_none(folder / stage.folder)
        if unknown:
            why = f"{unknown[0]} will be new"
        elif stage.name in forced:
            why = "asked for by --from"
        else:
            why = _why_run(stage, recipe, digests, manifest)
        if not why and manifest is not None:
            digests[stage.folder] = manifest.digest
        outcomes.append(StageOutcome(stage, "would run" if why else "would skip", why or "unchanged", manifest, 0.0))
    return outcomes


def stage_named(name: str) -> Stage:
    """Return a stage by its name; raises `TargetError` with the nearest names."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise TargetError(f"no stage is called {name!r}", nearest_names(name, [stage.name for stage in STAGES]))


def _chosen_stages(to_stage: str | None) -> tuple[Stage, ...]:
    return STAGES if to_stage is None else STAGES[: STAGES.index(stage_named(to_stage)) + 1]


def _forced_stages(from_stage: str | None) -> set[str]:
    return set() if from_stage is None else {stage.name for stage in STAGES[STAGES.index(stage_named(from_stage)) :]}


def stage_key(stage: Stage, recipe: Recipe, input_digests: Mapping[str, str]) -> str:
    """Return the key under which a stage's result may be used again."""
    return digest_of(
        {
            "stage": stage.name,
            "version": stage.version,
            "config": stage.config(recipe),
            "inputs": {name: input_digests[name] for name in stage.inputs},
            "outside": stage.fingerprint(recipe),
        }
    )


def _manifest_or_none(folder: Path) -> Manifest | None:
    """Return the manifest of a finished folder; None when nothing is there. A broken folder is refused."""
    return load_artifact(folder).manifest if folder.exists() else None


def _why_run(stage: Stage, recipe: Recipe, digests: Mapping[str, str], manifest: Manifest | None) -> str:
    """Return why a stage has to run, or an empty string when what is there can be kept."""
    if manifest is None:
        return "not made yet"
    if manifest.key == stage_key(stage, recipe, digests):
        return ""
    content = manifest.content
    if content["version"] != stage.version:
        return f"stage version {content['version']} became {stage.version}"
    if content["config"] != stage.config(recipe):
        return "its configuration changed"
    changed = [name for name in stage.inputs if content["inputs"].get(name) != digests[name]]
    return f"{changed[0]} changed" if changed else "what it reads outside the run changed"


def _build_stage(run: _Run, stage: Stage, *, forced: bool) -> StageOutcome:
    destination = run.folder / stage.folder
    digests = {name: run.artifacts[name].digest for name in stage.inputs}
    key = stage_key(stage, run.recipe, digests)
    staging_folder = run.folder / BUILDING / f"{stage.folder}-{key[:12]}"
    if (staging_folder / MANIFEST).is_file() and not forced:
        publish(staging_folder, destination)  # it was finished, and killed before it was moved into place
    manifest = None if forced else _manifest_or_none(destination)
    why = "asked for by --from" if forced else _why_run(stage, run.recipe, digests, manifest)
    if why:
        if forced:
            shutil.rmtree(staging_folder, ignore_errors=True)
        outcome = _run_stage(run, stage, key, why, staging_folder)
    else:
        assert manifest is not None
        outcome = StageOutcome(stage, "skipped", "unchanged", manifest, float(manifest.run["seconds"]))
    run.artifacts[stage.folder] = Artifact(destination, _manifest_of(outcome))
    run.observer.stage_ended(outcome)
    return outcome


def _manifest_of(outcome: StageOutcome) -> Manifest:
    assert outcome.manifest is not None
    return outcome.manifest


def _run_stage(run: _Run, stage: Stage, key: str, why: str, staging_folder: Path) -> StageOutcome:
    run.observer.stage_started(stage, why)
    logger.info("stage %s: %s", stage.name, why)
    for name in stage.inputs:
        if name not in run.fully_verified:
            load_artifact(run.folder / name, verify="full")
            run.fully_verified.add(name)
    started = time.monotonic()
    staging = Staging.open(staging_folder, stage.tables())
    inputs = {name: run.artifacts[name] for name in stage.inputs}
    counts = _run_function(stage, StageContext(run.recipe, inputs, staging, run.engine))
    seconds = time.monotonic() - started
    manifest = staging.commit(
        key=key,
        stage=stage.name,
        version=stage.version,
        config=stage.config(run.recipe),
        inputs={name: artifact.digest for name, artifact in inputs.items()},
        counts=counts,
        run={
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "host": platform.node(),
            "workers": run.engine.concurrency,
            "stackwright": __version__,
        },
    )
    publish(staging_folder, run.folder / stage.folder)
    run.fully_verified.add(stage.folder)  # digested a moment ago
    for stale in (run.folder / BUILDING).glob(f"{stage.folder}-*"):
        shutil.rmtree(stale, ignore_errors=True)
    return StageOutcome(stage, "ran", why, manifest, seconds)


def _run_function(stage: Stage, context: StageContext) -> Mapping[str, Any]:
    """Run a stage's function. A file that goes away while it works becomes an error that names it."""
    try:
        return stage.run(context)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{error.filename or error} went away while the stage {stage.name} was at work",
            "put it back, or remove the folder that held it, and run the same command again",
        ) from error


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold the run folder for one build; the system releases it when the process ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"run folder {folder} cannot be made ({error.strerror})", "choose another --out") from error
    with (folder / LOCK_FILE).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise RunLockedError(
                f"run folder {folder} is in use by {holder}", "wait until it is done, or build into another --out"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}")
        lock.flush()
        yield


def _refuse_foreign_folder(folder: Path) -> None:
    """Raise `ArtifactError` when the folder holds something that is no run; nothing is written into it."""
    if (folder / RUN_FILE).is_file() or not folder.is_dir():
        return
    if foreign := sorted(entry.name for entry in folder.iterdir() if entry.name != LOCK_FILE):
        raise ArtifactError(
            f"{folder} is not a run folder: it holds {foreign[0]} and no {RUN_FILE}", "choose another folder with --out"
        )


def _open_run_folder(folder: Path, recipe: Recipe) -> None:
    run_file = folder / RUN_FILE
    if run_file.is_file():
        check_run_folder(folder)
    else:
        write_json(run_file, {"format": FORMAT, "recipe": recipe.name, "stackwright": __version__})
    write_bytes(folder / RECIPE_FILE, dump_recipe(recipe).encode("utf-8"))


def check_run_folder(folder: Path) -> None:
    """Raise `TargetError` or `ArtifactError` unless `folder` is a run folder of this version."""
    path = folder / RUN_FILE
    if not path.is_file():
        runs = sorted(entry.parent.name for entry in folder.parent.glob(f"*/{RUN_FILE}"))
        raise TargetError(f"{folder} is not a run folder (no {RUN_FILE})", nearest_names(folder.name, runs))
    try:
        found = json.loads(path.read_text("utf-8")).get("format")
    except (ValueError, AttributeError) as error:
        raise ArtifactError(f"{path} is damaged ({error})", f"remove {folder} and build again") from error
    if found != FORMAT:
        raise ArtifactError(
            f"{folder} is a run of format {found!r}, this version reads format {FORMAT}",
            "use the version of stackwright that wrote it, or build into another folder with --out",
        )
