"""Removal: from requests to a run that never had the files, in one step, with a receipt.

In: a run folder and the ids of requests. Out: every artefact that depends on the files made anew, and a signed receipt.
All is made in staging first; then one journal is written, and from that moment the run is the new one (`run_folder.py`).
A kill before it leaves the old run and the requests as they were; a kill after it leaves moves that whoever opens the run
next completes. So there is no moment in which a request is lost or half of it is done.

Training is not repeated here. The data that the next training reads no longer has the files, and the receipt lists the
checkpoints that had seen them.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackwright.artifact import Artifact, load_artifact
from stackwright.build import BuildObserver, rebuild
from stackwright.document import DOCUMENT_KEY, DocumentKey, key_of
from stackwright.engine import Engine, available_cores, read_table
from stackwright.errors import DataError, GovernanceError, RequestError, RunLockedError
from stackwright.files import write_json
from stackwright.govern.proofs import contents_tree
from stackwright.govern.receipts import CheckpointSeen, Digests, Merkle, Receipt, load_signing_key, sign
from stackwright.govern.removal_plan import NearCopies, RemovalPlan, plan_removal
from stackwright.govern.removals import OPTOUT, RECEIPTS, REMOVED_FILE, load_removals, request_log
from stackwright.govern.requests import Request
from stackwright.recipe import load_recipe
from stackwright.run_folder import (
    BUILDING,
    RECIPE_FILE,
    begin_switch,
    check_run_folder,
    end_switch,
    finish_moves,
    lock_run,
    pending_switch,
)
from stackwright.stages import STAGES
from stackwright.train.load_list import checkpoint_exposures

DATA_STAGES = ("collect", "curate", "tokenizer", "tokens", "index")
"""What a removal makes anew. The release follows where there is one; training and its scores wait for the next build."""


@dataclass(frozen=True)
class Removal:
    """What `apply_requests` did. Without a matching file nothing was made, and there is no receipt."""

    plan: RemovalPlan
    receipt: Mapping[str, Any] | None
    receipt_file: Path | None
    applied_before: tuple[Request, ...]  # requests that were applied already
    trained_on: frozenset[DocumentKey] = frozenset()

    def to_json(self) -> dict[str, Any]:
        return {
            "receipt": self.receipt,
            "receipt_file": self.receipt_file and str(self.receipt_file),
            "applied_before": [request.to_json() for request in self.applied_before],
            "unmatched": [request.to_json() for request in self.plan.unmatched],
        }


def open_run(folder: Path) -> None:
    """Make sure that a run folder is one, and that what was begun in it is finished. Raises as `check_run_folder` does."""
    check_run_folder(folder)
    if pending_switch(folder) is not None:
        # The moves are done. Where somebody holds the run, the requests' events can wait for the next one who opens it.
        with suppress(RunLockedError), lock_run(folder):
            _settle(folder)


def plan_requests(folder: Path, ids: Sequence[str], near_copies: NearCopies = "later") -> RemovalPlan:
    """Return what `apply_requests` would take, without doing anything.

    Raises:
        TargetError: there is no such request, or no such run.
        RequestError: a request was refused.
        ArtifactError: the run has no finished dataset.
    """
    open_run(folder)
    requests, _ = _chosen(folder, ids)
    return plan_removal(load_artifact(folder / "corpus"), load_artifact(folder / "dataset"), requests, near_copies)


def apply_requests(
    folder: Path,
    ids: Sequence[str],
    now: datetime.datetime,
    *,
    near_copies: NearCopies = "later",
    retrain_tokenizer: bool = False,
    workers: int | None = None,
    memory_bytes: int | None = None,
    observer: BuildObserver | None = None,
) -> Removal:
    """Take out what requests ask for; without ids, what every open or verified request asks for.

    Raises:
        RunLockedError: a build or another removal is at work in the folder.
        GovernanceError: a request was refused, nothing would be left, or the receipt cannot be signed.
    """
    open_run(folder)
    with lock_run(folder):
        _settle(folder)
        requests, before = _chosen(folder, ids)
        old = _artifacts(folder)
        plan = plan_removal(old["corpus"], old["dataset"], requests, near_copies)
        if not plan.files:
            return Removal(plan, None, None, before)
        key = load_signing_key()  # a key that cannot be used is better known before the work than after it
        seen = _seen_in_training(folder, plan.in_dataset())
        trained_on = frozenset(key for checkpoint in seen for key in checkpoint.files)
        tokenizer_seen = _seen_by_tokenizer(old, plan)
        watcher = observer or BuildObserver()
        engine = Engine(workers or available_cores(), memory_bytes, watcher)
        new, moves = _rebuild(folder, plan, engine, watcher, retrain_tokenizer=retrain_tokenizer)
        receipt = Receipt(
            date=_date(now),
            run=folder.resolve().name,
            requests=plan.requests,
            removed=plan.removed(trained_on),
            left_for_decision=plan.left_for_decision,
            tokenizer_sha256=new["tokenizer"].digest if "tokenizer" in new else None,
            tokenizer_files_seen=tokenizer_seen,
            checkpoints=tuple(checkpoint.entry for checkpoint in seen if checkpoint.files),
            artefacts={name: Digests(_digest(old.get(name)), _digest(new.get(name))) for name in sorted({*old, *new})},
            merkle_before=_merkle(old["dataset"]),
            merkle_after=_merkle(new["dataset"]),
            tokenizer_kept=not retrain_tokenizer,
        ).content()
        signed = sign(receipt, key)
        receipt_file = _switch(folder, plan, moves, signed, now)
        return Removal(plan, signed, receipt_file, before, trained_on)


def _chosen(folder: Path, ids: Sequence[str]) -> tuple[list[Request], tuple[Request, ...]]:
    """Return the requests to apply, and those among the ids that were applied already."""
    log = request_log(folder)
    known = {request.id: request for request in log.requests()}
    if not ids:
        return [request for request in known.values() if request.is_pending], ()
    chosen = [log.find(known, request_id) for request_id in dict.fromkeys(ids)]
    for request in chosen:
        if request.state == "refused":
            why = f"request {request.id} was refused ({request.why})"
            raise RequestError(why, "only open and verified ones are applied")
    return [request for request in chosen if request.is_pending], tuple(one for one in chosen if one.state == "applied")


def _artifacts(folder: Path) -> dict[str, Artifact]:
    """Return the finished artefacts; corpus and dataset must be among them."""
    needed = ("corpus", "dataset")
    names = [stage.folder for stage in STAGES if stage.folder in needed or (folder / stage.folder).is_dir()]
    return {name: load_artifact(folder / name) for name in names}


def _rebuild(
    folder: Path, plan: RemovalPlan, engine: Engine, observer: BuildObserver, *, retrain_tokenizer: bool
) -> tuple[dict[str, Artifact], list[tuple[Path, Path]]]:
    present = [stage.name for stage in STAGES if (folder / stage.folder).is_dir()]
    stages = [name for name in present if name in DATA_STAGES or name == "release"]
    kept = () if retrain_tokenizer else ("tokenizer",)
    recipe = load_recipe(str(folder / RECIPE_FILE))
    removals = load_removals(folder).joined(plan.removals)
    try:
        artifacts, moves = rebuild(recipe, folder, removals, stages=stages, kept=kept, engine=engine, observer=observer)
    except DataError as error:
        raise GovernanceError(
            f"too little would be left of {folder} ({error.problem})",
            "remove the whole run folder instead, or add sources and build first; the requests stay as they are",
        ) from error
    staged = folder / BUILDING / OPTOUT
    shutil.rmtree(staged, ignore_errors=True)
    write_json(staged / REMOVED_FILE, removals.to_json())
    return artifacts, [*moves, (staged / REMOVED_FILE, folder / OPTOUT / REMOVED_FILE)]


def _switch(
    folder: Path,
    plan: RemovalPlan,
    moves: Sequence[tuple[Path, Path]],
    signed: Mapping[str, Any],
    now: datetime.datetime,
) -> Path:
    """Let the new run take the place of the old one; returns the receipt's file."""
    receipt_id = signed["receipt"]["receipt_id"]
    name = f"{receipt_id}.json"
    staged, receipt_file = folder / BUILDING / OPTOUT / name, folder / OPTOUT / RECEIPTS / name
    write_json(staged, signed)
    note = {"requests": [request.id for request in plan.requests], "receipt_id": receipt_id, "date": _date(now)}
    begin_switch(folder, [*moves, (staged, receipt_file)], note)
    _settle(folder)
    return receipt_file


def _settle(folder: Path) -> None:
    """Finish a removal whose journal was written: its moves, and the events of its requests. The caller holds the run."""
    switch = pending_switch(folder)
    if switch is not None:
        finish_moves(folder)
        note = switch["note"]
        date = datetime.datetime.fromisoformat(note["date"])
        request_log(folder).mark_applied(note["requests"], note["receipt_id"], date)
        end_switch(folder)
        shutil.rmtree(folder / BUILDING / OPTOUT, ignore_errors=True)


def _date(now: datetime.datetime) -> str:
    return now.astimezone(datetime.UTC).isoformat(timespec="seconds")


def _digest(artifact: Artifact | None) -> str | None:
    return None if artifact is None else artifact.digest


def _merkle(dataset: Artifact) -> Merkle:
    tree = contents_tree(dataset)
    return Merkle(tree.root, len(tree.ids))


@dataclass(frozen=True)
class SeenInTraining:
    """What one checkpoint had seen of the files."""

    entry: CheckpointSeen
    files: frozenset[DocumentKey]


def _seen_in_training(folder: Path, files: Sequence[DocumentKey]) -> list[SeenInTraining]:
    """Return for each checkpoint which of the files it had been trained on, and in how many samples."""
    if not (folder / "checkpoints").is_dir():
        return []
    exposures = checkpoint_exposures(folder, files)
    return [
        SeenInTraining(
            CheckpointSeen(exposure.name, exposure.step, len(exposure.times), sum(exposure.times.values())),
            frozenset(exposure.times),
        )
        for exposure in exposures
    ]


def _seen_by_tokenizer(old: Mapping[str, Artifact], plan: RemovalPlan) -> int:
    """Return how many of the files the tokenizer had learned from."""
    if "tokenizer" not in old:
        return 0
    sampled = set(old["tokenizer"].table("sample").read().column(0).to_pylist())
    going, names = set(plan.in_dataset()), [*DOCUMENT_KEY, "text_id"]
    rows = (row for part in read_table(old["dataset"].table("documents"), names) for row in part.to_pylist())
    return sum(key_of(row) in going and row["text_id"] in sampled for row in rows)
