"""Removal end to end: planted code is found, taken out, proved gone; the run is one that never had it."""

from __future__ import annotations

import datetime
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from docs.verify_proof import check_proof
from stackwright.artifact import load_artifact, publish
from stackwright.attribute.index import Index
from stackwright.build import build
from stackwright.document import git_blob_id
from stackwright.errors import (
    ArtifactError,
    GovernanceError,
    ReceiptError,
    RequestError,
    RunLockedError,
    TargetError,
)
from stackwright.govern.ledger import explain
from stackwright.govern.proofs import MerkleTree
from stackwright.govern.receipts import verify_receipt
from stackwright.govern.removals import load_removals, request_log
from stackwright.recipe import Recipe
from stackwright.removal import Removal, apply_requests, open_run, plan_requests
from stackwright.run_folder import lock_run, pending_switch
from tests.corpus import edited_copy, make_repositories, python_text, small_recipe, write

NOW = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)
DATA = ("corpus", "dataset", "tokens", "index")
PLANTED = python_text(random.Random(7), 20)
MINE = git_blob_id(PLANTED.encode())
THEIRS = git_blob_id(edited_copy(PLANTED).encode())
TARGET = "directory/planted:mine.py"


def plant(world: Path) -> None:
    """Put a file into one repository, an exact and an edited copy of it into another."""
    write(world / "planted" / "mine.py", PLANTED)
    write(world / "planted" / "other.py", python_text(random.Random(8), 8))
    write(world / "planted" / "package.json", '{"name": "planted", "license": "MIT"}')
    write(world / "taker" / "theirs.py", edited_copy(PLANTED))
    write(world / "taker" / "same.py", PLANTED)
    write(world / "taker" / "package.json", '{"name": "taker", "license": "MIT"}')


def uproot(world: Path) -> None:
    for name in ("planted/mine.py", "taker/theirs.py", "taker/same.py"):
        (world / name).unlink()


def recipe_for(world: Path, *overrides: str) -> Recipe:
    small = (
        "collect.shard_bytes=3000",
        "index.least_span=24",
        "index.gram_bytes=12",
        "curate.split.validation_fraction=0.1",
    )
    return small_recipe(world, *small, "curate.split.test_fraction=0.1", *overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """World and finished run with planted code, trained; tests work on copies."""
    folder = tmp_path_factory.mktemp("planted")
    make_repositories(folder / "world", count=8)
    plant(folder / "world")
    build(recipe_for(folder / "world"), folder / "run", workers=1)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run. Its recipe names the world that all copies share, and no test may change."""
    shutil.copytree(trained / "run", tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def ask(run: Path, target: str = TARGET, requester: str = "A. Author") -> str:
    return request_log(run).add(target, requester, "I did not agree", NOW)[0].id


def apply(run: Path, *ids: str, **options: Any) -> Removal:
    return apply_requests(run, ids, NOW, workers=1, **options)


def digests(run: Path) -> dict[str, str]:
    return {name: load_artifact(run / name, verify="full").digest for name in DATA}


def content_ids(run: Path) -> list[str]:
    ids: list[str] = load_artifact(run / "dataset").table("documents").read(["content_id"]).column(0).to_pylist()
    return ids


def never_had(trained: Path, run: Path, folder: Path) -> Path:
    """Build a run over a world that never held the planted code, with the tokenizer of `run`."""
    shutil.copytree(trained / "world", folder / "world", symlinks=True)
    uproot(folder / "world")
    clean = folder / "clean"
    clean.mkdir()
    shutil.copy(run / "run.json", clean)
    shutil.copytree(run / "tokenizer", clean / "tokenizer")
    build(recipe_for(folder / "world"), clean, to_stage="index", workers=1, keep_tokenizer=True)
    return clean


def rows(run: Path) -> dict[str, str]:
    """Return the digest of the rows of every table of the data, and of the bytes of the index."""
    found = {}
    for name in DATA:
        content = load_artifact(run / name).manifest.content
        found |= {f"{name}/{table}": record["rows_sha256"] for table, record in content["tables"].items()}
        found |= {
            file: record["sha256"] for file, record in content["files"].items() if file.endswith((".postings", ".grams"))
        }
    return found


def test_planted_code_is_found_taken_out_and_proved_gone(run: Path, trained: Path, tmp_path: Path) -> None:
    assert explain(run, TARGET).verdicts == {"keep": 1}
    near = explain(run, "directory/taker:theirs.py")
    assert near.verdicts == {"near_duplicate": 1}
    assert [edge["other_path"] for edge in near.copies] == ["mine.py"]
    (match, *_) = Index.open(run / "index").cite(PLANTED).matches
    assert match.origins[0].path == "mine.py"
    before = MerkleTree.build(content_ids(run))

    removal = apply(run, ask(run), near_copies="all")

    for target in (TARGET, "directory/taker:theirs.py", "directory/taker:same.py", MINE, THEIRS):
        with pytest.raises(TargetError, match="was not seen in this run"):
            explain(run, target)
    assert not [match for match in Index.open(run / "index").cite(PLANTED).matches if match.end - match.start > 300]
    assert rows(run) == rows(never_had(trained, run, tmp_path))
    assert removal.receipt is not None
    content = verify_receipt(removal.receipt, removal.receipt["public_key"]).content
    after = MerkleTree.build(content_ids(run))
    assert content["merkle"]["before"] == {"root": before.root, "num_ids": len(before.ids)}
    assert content["merkle"]["after"] == {"root": after.root, "num_ids": len(after.ids)}
    for content_id in (MINE, THEIRS):
        assert "none of" in check_proof(json.loads(json.dumps(after.prove(content_id).to_json())), after.root)
    assert "one of" in check_proof(before.prove(MINE).to_json(), before.root)


def test_the_receipt_says_what_went_and_what_had_seen_it(run: Path) -> None:
    removal = apply(run, ask(run))
    assert removal.receipt is not None
    content = removal.receipt["receipt"]
    assert [(file["path"], file["why"]) for file in content["removed"]] == [
        ("mine.py", "asked for"),
        ("same.py", "exact copy of directory/planted@unversioned:mine.py"),
    ]
    assert content["removed"][0]["was"] == "trained on"
    assert content["removed"][1]["was"] == "dropped: exact_duplicate"
    assert [(copy["path"], copy["copy_of"]) for copy in content["left_for_decision"]] == [
        ("theirs.py", "directory/planted@unversioned:mine.py")
    ]
    assert [checkpoint["name"] for checkpoint in content["checkpoints"]] == ["step-000004", "step-000008", "step-000012"]
    counts = [checkpoint["samples"] for checkpoint in content["checkpoints"]]
    assert 0 < counts[0] <= counts[1] < counts[2]
    assert content["tokenizer"]["removed_files_seen"] == 1
    assert content["artefacts"]["index"]["after"] == load_artifact(run / "index").digest
    assert content["artefacts"]["checkpoints"]["after"] == content["artefacts"]["checkpoints"]["before"]
    [request] = request_log(run).requests()
    assert (request.state, request.receipt_id) == ("applied", content["receipt_id"])
    assert request.how == "verified by operator at apply"
    released = json.loads((run / "release" / "contents.json").read_text("utf-8"))
    assert released == {**content["merkle"]["after"], "removed": 1, "trained_on_removed": 1}
    assert content["merkle"]["after"]["root"] in (run / "release" / "README.md").read_text("utf-8")
    # The near copy is nobody's duplicate any more, and is used until somebody decides.
    assert explain(run, "directory/taker:theirs.py").verdicts == {"keep": 1}


def test_the_next_build_trains_without_the_files_and_says_so(run: Path, trained: Path) -> None:
    apply(run, ask(run), near_copies="all")
    statuses = {outcome.stage.name: outcome.status for outcome in build(recipe_for(trained / "world"), run, workers=1)}
    assert [name for name, status in statuses.items() if status == "skipped"] == [
        "collect", "curate", "tokenizer", "tokens", "index",
    ]  # fmt: skip
    listed = load_artifact(run / "checkpoints").table("load_list").read(["path"]).column(0).to_pylist()
    assert "mine.py" not in listed
    assert "other.py" in listed
    facts = json.loads((run / "checkpoints" / "step-000012" / "training_data.json").read_text("utf-8"))
    assert facts["removals"]["receipts"] == [path.stem for path in (run / "optout" / "receipts").iterdir()]
    assert facts["removals"]["contents"] == 2


def test_a_second_removal_still_knows_what_old_checkpoints_saw(run: Path) -> None:
    apply(run, ask(run))
    second = apply(run, ask(run, "directory/planted:other.py"))
    assert second.receipt is not None
    assert [checkpoint["files_seen"] for checkpoint in second.receipt["receipt"]["checkpoints"]] == [1, 1]


def test_a_removed_file_stays_out_when_it_comes_back_under_another_name(run: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "world", tmp_path / "world", symlinks=True)
    apply(run, ask(run))
    write(tmp_path / "world" / "repo01" / "brought_back.py", PLANTED)
    build(recipe_for(tmp_path / "world"), run, to_stage="index", workers=1, keep_tokenizer=True)
    with pytest.raises(TargetError):
        explain(run, MINE)
    # What is written in the place of a removed copy is somebody else's, and new.
    write(tmp_path / "world" / "taker" / "same.py", python_text(random.Random(99), 6))
    write(tmp_path / "world" / "planted" / "mine.py", python_text(random.Random(98), 6))
    build(recipe_for(tmp_path / "world"), run, to_stage="index", workers=1, keep_tokenizer=True)
    assert explain(run, "directory/taker:same.py").verdicts == {"keep": 1}
    with pytest.raises(TargetError):
        explain(run, TARGET)  # the author asked for this path


def test_a_dated_near_copy_follows_only_when_it_is_later(tmp_path: Path) -> None:
    for name, date in (("first", "2020-01-01"), ("second", "2024-01-01")):
        write(tmp_path / "world" / name / "code.py", PLANTED if name == "first" else edited_copy(PLANTED))
        write(tmp_path / "world" / name / "package.json", f'{{"name": "{name}", "license": "MIT"}}')
        environment = {**os.environ, "GIT_AUTHOR_DATE": f"{date}T00:00:00Z", "GIT_COMMITTER_DATE": f"{date}T00:00:00Z"}
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "one"]):
            subprocess.run(["git", *command], cwd=tmp_path / "world" / name, env=environment, check=True)
    make_repositories(tmp_path / "world", count=3)
    build(recipe_for(tmp_path / "world"), tmp_path / "run", to_stage="index", workers=1)
    plan = plan_requests(tmp_path / "run", [ask(tmp_path / "run", "directory/first:code.py")])
    assert sorted(file.path for file in plan.files.values() if "code" in file.path) == ["code.py", "code.py"]
    assert plan.left_for_decision == ()
    plan = plan_requests(tmp_path / "run", [ask(tmp_path / "run", "directory/second:code.py")])
    assert [copy.repo for copy in plan.left_for_decision] == ["directory/first"]
    assert len(plan.files) == len(plan_requests(tmp_path / "run", ["r0001"], "none").files) == 1
    assert len(plan_requests(tmp_path / "run", ["r0002"], "all").files) == 2


def test_a_dry_run_changes_nothing(run: Path) -> None:
    request_id = ask(run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    plan = plan_requests(run, [request_id])
    assert [file.name for file in plan.files.values()] == [
        "directory/planted@unversioned:mine.py",
        "directory/taker@unversioned:same.py",
    ]
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before


def test_what_is_not_there_is_said_and_the_request_is_kept(run: Path) -> None:
    before = digests(run)
    request_id = ask(run, "directory/planted:nowhere/*.py")
    removal = apply(run, request_id)
    assert removal.receipt is None
    assert [request.id for request in removal.plan.unmatched] == [request_id]
    assert request_log(run).requests()[0].state == "open"
    assert digests(run) == before


def test_removing_everything_is_refused_and_nothing_changes(run: Path) -> None:
    before = digests(run)
    names = {row["repo"] for row in load_artifact(run / "corpus").table("repositories").read(["repo"]).to_pylist()}
    ids = [ask(run, name) for name in sorted(names)]
    with pytest.raises(GovernanceError, match=r"too little would be left of .* the requests stay as they are"):
        apply(run, *ids)
    assert digests(run) == before
    assert all(request.state == "open" for request in request_log(run).requests())


def test_applying_twice_says_so(run: Path) -> None:
    request_id = ask(run)
    first = apply(run, request_id)
    before = digests(run)
    second = apply(run, request_id)
    assert second.receipt is None
    assert [request.receipt_id for request in second.applied_before] == [first.receipt["receipt"]["receipt_id"]]  # type: ignore[index]
    assert apply(run).receipt is None
    assert digests(run) == before


def test_refused_and_unknown_requests_are_not_applied(run: Path) -> None:
    request_id = ask(run)
    request_log(run).refuse(request_id, "not theirs", NOW)
    with pytest.raises(RequestError, match="r0001 was refused"):
        apply(run, request_id)
    with pytest.raises(TargetError, match="there is no request 'r0009'"):
        apply(run, "r0009")


def test_two_removals_at_once_are_kept_apart(run: Path) -> None:
    request_id = ask(run)
    with lock_run(run), pytest.raises(RunLockedError):
        apply(run, request_id)
    assert apply(run, request_id).receipt is not None


def test_a_key_that_cannot_be_used_stops_a_removal_before_it_begins(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, before = ask(run), digests(run)
    monkeypatch.setenv("STACKWRIGHT_SIGNING_KEY_FILE", str(tmp_path / "missing.key"))
    with pytest.raises(ReceiptError, match=r"missing.key cannot be used"):
        apply(run, request_id)
    assert digests(run) == before
    assert request_log(run).requests()[0].state == "open"


def test_a_damaged_list_of_removals_stops_a_build(run: Path, trained: Path) -> None:
    apply(run, ask(run))
    (run / "optout" / "removed.json").write_text("{", "utf-8")
    with pytest.raises(ArtifactError, match=r"removed.json is damaged .* would bring back"):
        build(recipe_for(trained / "world"), run, to_stage="index", workers=1)


PROGRAM = """
import datetime, sys
from pathlib import Path
from stackwright.removal import apply_requests
apply_requests(Path(sys.argv[1]), (), datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC), near_copies="all", workers=1)
"""

KILLS = 20


@pytest.mark.timeout(900)
def test_a_kill_at_any_moment_leaves_the_old_run_or_the_new_one(run: Path, tmp_path: Path) -> None:
    """Twenty kills, spread over the time that an undisturbed removal takes, at moments drawn at random."""
    for name in ("checkpoints", "evaluation", "release"):
        shutil.rmtree(run / name)
    ask(run)
    command = [sys.executable, "-c", PROGRAM]

    def start(folder: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, str(folder)], cwd=Path(__file__).parent.parent, stderr=subprocess.DEVNULL)

    shutil.copytree(run, tmp_path / "undisturbed", symlinks=True)
    old, started = digests(run), time.monotonic()
    assert start(tmp_path / "undisturbed").wait() == 0
    seconds, new = time.monotonic() - started, digests(tmp_path / "undisturbed")
    assert old != new
    rng, outcomes = random.Random(0), set()
    for number in range(KILLS):
        folder = tmp_path / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run, folder, symlinks=True)
        process = start(folder)
        time.sleep(seconds * (number + rng.random()) / KILLS * 1.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        open_run(folder)
        state, [request] = digests(folder), request_log(folder).requests()
        assert state in (old, new)
        assert request.state == ("open" if state == old else "applied")
        assert (load_removals(folder).digest == "") == (state == old)
        assert pending_switch(folder) is None
        outcomes.add(request.state)
        apply(folder, near_copies="all")
        assert digests(folder) == new
        assert request_log(folder).requests()[0].state == "applied"
        assert len(list((folder / "optout" / "receipts").iterdir())) == 1
    assert "open" in outcomes


@pytest.mark.parametrize("moves_done", range(7))
def test_a_kill_between_the_moves_is_completed_by_whoever_opens_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves_done: int
) -> None:
    ask(run)
    shutil.copytree(run, tmp_path / "undisturbed", symlinks=True)
    apply(tmp_path / "undisturbed")
    calls = 0

    class Killed(BaseException):
        pass

    def publish_some(staging: Path, destination: Path) -> None:
        nonlocal calls
        if calls == moves_done:
            raise Killed
        calls += 1
        publish(staging, destination)

    def die(folder: Path) -> None:
        raise Killed(folder)

    monkeypatch.setattr("stackwright.run_folder.publish", publish_some)
    monkeypatch.setattr("stackwright.removal.end_switch", die)
    with pytest.raises(Killed):
        apply(run)
    monkeypatch.undo()
    assert pending_switch(run) is not None
    open_run(run)
    assert digests(run) == digests(tmp_path / "undisturbed")
    assert [request.state for request in request_log(run).requests()] == ["applied"]
    assert pending_switch(run) is None
