"""The run folder: what makes it one, who holds it, and how several artefacts change in one step.

A build publishes one artefact after another. Where all must change together (a removal), they are made in staging, and
`switch` writes a journal that names every move: from then on the new state is what the folder holds, and whoever opens it
next completes the moves that a killed process left. Before the journal is there, nothing has changed.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stackwright import __version__
from stackwright.artifact import FORMAT, publish
from stackwright.errors import ArtifactError, RunLockedError, TargetError, nearest_names
from stackwright.files import sync_folder, write_bytes, write_json
from stackwright.recipe import Recipe, dump_recipe

BUILDING = ".building"
RUN_FILE = "run.json"
RECIPE_FILE = "recipe.toml"
LOCK_FILE = ".lock"


SWITCH_FILE = "switch.json"

_READER_WAIT_SECONDS = 10.0


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


def refuse_foreign_folder(folder: Path) -> None:
    """Raise `ArtifactError` when the folder holds something that is no run; nothing is written into it."""
    if (folder / RUN_FILE).is_file() or not folder.is_dir():
        return
    if foreign := sorted(entry.name for entry in folder.iterdir() if entry.name != LOCK_FILE):
        raise ArtifactError(
            f"{folder} is not a run folder: it holds {foreign[0]} and no {RUN_FILE}", "choose another folder with --out"
        )


def open_run_folder(folder: Path, recipe: Recipe) -> None:
    run_file = folder / RUN_FILE
    if run_file.is_file():
        _check_format(folder)
        finish_moves(folder)
    else:
        write_json(run_file, {"format": FORMAT, "recipe": recipe.name, "stackwright": __version__})
    write_bytes(folder / RECIPE_FILE, dump_recipe(recipe).encode("utf-8"))


def begin_switch(folder: Path, moves: Sequence[tuple[Path, Path]], note: Mapping[str, Any]) -> None:
    """Decide that every staged file or folder takes its place: from here on it happens, whoever is killed.

    Args:
        moves: (staged, destination), both inside the run folder; a destination that exists is replaced.
        note: what the caller needs to know when the moves are done; `pending_switch` returns it.
    """
    named = [[path.relative_to(folder).as_posix() for path in move] for move in moves]
    write_json(folder / SWITCH_FILE, {"moves": named, "note": dict(note)})
    sync_folder(folder)


def finish_moves(folder: Path) -> None:
    """Do the moves of a switch that are not done. The caller holds the run folder."""
    switch = pending_switch(folder)
    for staged, destination in () if switch is None else switch["moves"]:
        source, target = folder / staged, folder / destination
        if source.is_dir():
            publish(source, target)
        elif source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
            sync_folder(target.parent)


def pending_switch(folder: Path) -> dict[str, Any] | None:
    """Return the journal of a switch whose end was not written: its moves and the caller's note."""
    path = folder / SWITCH_FILE
    if not path.is_file():
        return None
    switch: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return switch


def end_switch(folder: Path) -> None:
    """Forget a switch whose moves, and what its note asks for, are done."""
    (folder / SWITCH_FILE).unlink(missing_ok=True)
    sync_folder(folder)


def _finish_moves_of_others(folder: Path) -> None:
    """Wait for, or do, the moves that were begun; a reader then sees the old state or the new one."""
    give_up = time.monotonic() + _READER_WAIT_SECONDS
    while (switch := pending_switch(folder)) and any((folder / staged).exists() for staged, _ in switch["moves"]):
        try:
            with lock_run(folder):
                finish_moves(folder)
        except RunLockedError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def check_run_folder(folder: Path) -> None:
    """Make sure that `folder` is a run folder of this version, in one state.

    Raises:
        TargetError: it is no run folder.
        ArtifactError: it is damaged or of another version.
    """
    _check_format(folder)
    _finish_moves_of_others(folder)


def _check_format(folder: Path) -> None:
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
