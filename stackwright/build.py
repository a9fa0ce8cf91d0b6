"""Running the stages whose key has changed.

In: a recipe and a run folder. Out: the run folder with every artefact up to the last stage asked for. A stage is
skipped when its key (configuration, digests of its inputs, stage version, and for collect the listing of the sources)
is the one in the manifest that is already there. A stage that was killed goes on from the parts it had finished.
"""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from stackwright import __version__
from stackwright.artifact import MANIFEST, Artifact, Manifest, Staging, load_artifact, publish, write_key
from stackwright.engine import Engine, NothingRemoved, Removals, StageContext, available_cores
from stackwright.errors import ArtifactError
from stackwright.files import remove_folder
from stackwright.govern.removals import load_removals
from stackwright.launch import launched_rank, launched_size
from stackwright.log import SilentProgress, file_log, get_logger
from stackwright.recipe import Recipe
from stackwright.run_folder import BUILDING, lock_run, open_run_folder, refuse_foreign_folder
from stackwright.stages import STAGES, Stage, stage_key, stage_named

logger = get_logger("build")


class _CallableModule(ModuleType):
    """Makes `stackwright.build(...)` work also after this module was imported and so took its function's name."""

    def __call__(self, *arguments: Any, **options: Any) -> list[StageOutcome]:
        return build(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule


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
    removals: Removals = field(default_factory=NothingRemoved)
    forced: frozenset[str] = frozenset()  # stages to run even when nothing changed
    kept: frozenset[str] = frozenset()  # stages whose result stays even when what they read changed
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    fully_verified: set[str] = field(default_factory=set)
    staged: list[tuple[Path, Path]] | None = None  # where nothing is published yet: (staging, destination)


def build(
    recipe: Recipe,
    folder: Path,
    *,
    workers: int | None = None,
    memory_bytes: int | None = None,
    from_stage: str | None = None,
    to_stage: str | None = None,
    keep_tokenizer: bool = False,
    observer: BuildObserver | None = None,
) -> list[StageOutcome]:
    """Make or complete a run folder and return what happened to each stage.

    Args:
        workers: processes for the data stages; the machine's cores when not given.
        memory_bytes: bound of the summed resident memory of the data stages' process tree.
        from_stage: run this stage and those after it even when nothing changed.
        to_stage: stop after this stage.
        keep_tokenizer: use the tokenizer that is there although the dataset changed.

    Under a launcher (`torchrun`), the first process does this and the others take their part in the training only.

    Raises:
        RunLockedError: another build holds the folder.
        ArtifactError: an artefact is half-written, changed or of another version.
    """
    if launched_rank() > 0:
        return _follow(recipe)
    stages = _chosen_stages(to_stage)
    forced = _forced_stages(from_stage)
    watcher = observer or BuildObserver()
    engine = Engine(workers or available_cores(), memory_bytes, watcher)
    refuse_foreign_folder(folder)
    with _leading(), lock_run(folder):
        open_run_folder(folder, recipe)
        kept = frozenset({"tokenizer"} if keep_tokenizer else ())
        run = _Run(recipe, folder, engine, watcher, load_removals(folder), forced, kept)
        with file_log(folder / "build.log"), closing(engine):
            return [_build_stage(run, stage) for stage in stages]


def _follow(recipe: Recipe) -> list[StageOutcome]:
    """Be a process of a launcher that is not the first: wait for the training, which it does its part of."""
    from stackwright.train.trainer import follow_training

    follow_training(recipe)
    return []


def _leading() -> AbstractContextManager[None]:
    """Let the other processes of a launcher go at the end, where there are any."""
    if launched_size() == 1:
        return nullcontext()
    from stackwright.train.ranks import leading

    return leading()


def rebuild(
    recipe: Recipe,
    folder: Path,
    removals: Removals,
    *,
    stages: Collection[str],
    kept: Collection[str],
    engine: Engine,
    observer: BuildObserver,
) -> tuple[dict[str, Artifact], list[tuple[Path, Path]]]:
    """Make stages of a finished run anew under other removals, without publishing any. The caller holds the run folder.

    Returns:
        the artefacts of the run as they would be, and the moves (staging, destination) that would make them so.
    """
    run = _Run(recipe, folder, engine, observer, removals, kept=frozenset(kept), staged=[])
    with file_log(folder / "build.log"), closing(engine):
        for stage in STAGES:
            if stage.name in stages:
                _build_stage(run, stage)
            elif (folder / stage.folder).is_dir():
                run.artifacts[stage.folder] = load_artifact(folder / stage.folder)
    return run.artifacts, run.staged or []


def plan_build(
    recipe: Recipe, folder: Path, *, from_stage: str | None = None, to_stage: str | None = None
) -> list[StageOutcome]:
    """Return what `build` would do, without doing it."""
    forced, removals = _forced_stages(from_stage), load_removals(folder)
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
            why = _why_run(stage, recipe, digests, manifest, stage_key(stage, recipe, digests, removals))
        if not why and manifest is not None:
            digests[stage.folder] = manifest.digest
        outcomes.append(StageOutcome(stage, "would run" if why else "would skip", why or "unchanged", manifest, 0.0))
    return outcomes


def _chosen_stages(to_stage: str | None) -> tuple[Stage, ...]:
    return STAGES if to_stage is None else STAGES[: STAGES.index(stage_named(to_stage)) + 1]


def _forced_stages(from_stage: str | None) -> frozenset[str]:
    first = len(STAGES) if from_stage is None else STAGES.index(stage_named(from_stage))
    return frozenset(stage.name for stage in STAGES[first:])


def _manifest_or_none(folder: Path) -> Manifest | None:
    """Return the manifest of a finished folder; None when nothing is there. A broken folder is refused."""
    return load_artifact(folder).manifest if folder.exists() else None


def _why_run(stage: Stage, recipe: Recipe, digests: Mapping[str, str], manifest: Manifest | None, key: str) -> str:
    """Return why a stage has to run, or an empty string when what is there can be kept."""
    if manifest is None:
        return "not made yet"
    if manifest.key == key:
        return ""
    content = manifest.content
    if content["version"] != stage.version:
        return f"stage version {content['version']} became {stage.version}"
    if content["config"] != stage.config(recipe):
        return "its configuration changed"
    changed = [name for name in stage.inputs if content["inputs"].get(name) != digests[name]]
    return f"{changed[0]} changed" if changed else "what it reads outside the run changed"


def _build_stage(run: _Run, stage: Stage) -> StageOutcome:
    destination, forced = run.folder / stage.folder, stage.name in run.forced
    digests = {name: run.artifacts[name].digest for name in stage.inputs}
    key = stage_key(stage, run.recipe, digests, run.removals)
    staging_folder = run.folder / BUILDING / f"{stage.folder}-{key[:12]}"
    if forced:
        remove_folder(staging_folder)
    elif (staging_folder / MANIFEST).is_file():
        _put_in_place(run, stage, staging_folder)  # it was finished, and killed before it was moved into place
    current = _in_place(run, destination)
    manifest = None if forced else _manifest_or_none(current)
    why = "asked for by --from" if forced else _why_run(stage, run.recipe, digests, manifest, key)
    if why and manifest is not None and stage.name in run.kept:
        manifest, why = _keep(run, stage, key, staging_folder), ""
    if why:
        outcome = _run_stage(run, stage, key, why, staging_folder)
    else:
        assert manifest is not None
        outcome = StageOutcome(stage, "skipped", "unchanged", manifest, float(manifest.run["seconds"]))
    run.artifacts[stage.folder] = Artifact(_in_place(run, destination), _manifest_of(outcome))
    run.observer.stage_ended(outcome)
    return outcome


def _manifest_of(outcome: StageOutcome) -> Manifest:
    assert outcome.manifest is not None
    return outcome.manifest


def _in_place(run: _Run, destination: Path) -> Path:
    """Return the folder that holds what is, or will be, at `destination`."""
    return next((staging for staging, target in run.staged or () if target == destination), destination)


def _put_in_place(run: _Run, stage: Stage, staging_folder: Path) -> None:
    """Publish a finished stage, or note that it waits for the others."""
    destination = run.folder / stage.folder
    if run.staged is None:
        publish(staging_folder, destination)
    else:
        run.staged.append((staging_folder, destination))


def _keep(run: _Run, stage: Stage, key: str, staging_folder: Path) -> Manifest:
    """Let the result that is there stand for the new key; what is published is not touched where nothing may be yet."""
    destination = run.folder / stage.folder
    if run.staged is None:
        return write_key(destination, key)
    remove_folder(staging_folder)
    shutil.copytree(destination, staging_folder, copy_function=os.link)
    run.staged.append((staging_folder, destination))
    return write_key(staging_folder, key)


def _run_stage(run: _Run, stage: Stage, key: str, why: str, staging_folder: Path) -> StageOutcome:
    run.observer.stage_started(stage, why)
    logger.info("stage %s: %s", stage.name, why)
    for name in stage.inputs:
        if name not in run.fully_verified:
            load_artifact(run.artifacts[name].folder, verify="full")
            run.fully_verified.add(name)
    started = time.monotonic()
    if stage.alone:
        run.engine.close()
    staging = Staging.open(
        staging_folder,
        stage.tables(),
        previous=None if stage.name in run.forced else run.folder / stage.folder,
        version=f"{stage.name} {stage.version}",
    )
    inputs = {name: run.artifacts[name] for name in stage.inputs}
    counts = _run_function(stage, StageContext(run.recipe, inputs, staging, run.engine, run.removals))
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
    _put_in_place(run, stage, staging_folder)
    run.fully_verified.add(stage.folder)  # digested a moment ago
    for stale in list((run.folder / BUILDING).glob(f"{stage.folder}-*")):
        if run.staged is None or stale != staging_folder:
            remove_folder(stale)
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
