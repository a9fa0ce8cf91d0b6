"""What was asked for, what was taken out and what is proved: a run says it of each target."""

from __future__ import annotations

import datetime
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from stackwright.artifact import load_artifact
from stackwright.document import git_blob_id
from stackwright.errors import GovernanceError, TargetError, UsageError
from stackwright.explanation import explain_run, proof_of, requests_of
from stackwright.govern.proofs import Proof, merkle_root, verify
from stackwright.govern.receipts import (
    ASKED_FOR,
    Merkle,
    Receipt,
    RemovedFile,
    exact_copy_of,
    load_signing_key,
    sign,
    was_used,
)
from stackwright.govern.removals import OPTOUT, RECEIPTS, REMOVED_FILE, RemovalSet, request_log
from tests.corpus import write
from tests.pages.artifacts import entry, make_ledger

NOW = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)


@pytest.fixture
def requested(asked_run: Path, tmp_path: Path) -> Path:
    """A copy of the asked run in which a test may record requests."""
    return Path(shutil.copytree(asked_run, tmp_path / "requested"))


def ask(run: Path, target: str, days_ago: int = 0) -> str:
    return request_log(run).add(target, "An Author", "mine", NOW - datetime.timedelta(days=days_ago))[0].id


def test_requests_that_wait_and_reach_the_target_are_shown_with_their_age(requested: Path, asked_repositories: Path) -> None:
    content_id = git_blob_id((asked_repositories / "mixed" / "people.py").read_bytes())
    repository = ask(requested, "directory/mixed", days_ago=12)
    path = ask(requested, "directory/mixed:*.py", days_ago=3)
    content = ask(requested, content_id)
    ask(requested, "directory/partly")
    refused = ask(requested, "directory/mixed:people.py")
    request_log(requested).refuse(refused, "not the author", NOW)
    request_log(requested).verify(path, "by mail", NOW)

    def shown(target: str) -> dict[str, tuple[str, int]]:
        found = explain_run(requested, target, now=NOW).requests
        return {request.id: (request.state, request.age_days) for request in found}

    everything = {repository: ("open", 12), path: ("verified", 3), content: ("open", 0)}
    assert shown("mixed:people.py") == shown("mixed") == shown(content_id) == everything
    assert shown("mixed:bad.js") == {repository: ("open", 12)}
    assert shown("family0") == {}
    assert [request.state for request in requests_of(requested, NOW)] == ["open", "verified", "open", "open", "refused"]


def test_an_applied_request_is_shown_with_the_repository_it_took_files_from(requested: Path) -> None:
    request = ask(requested, "directory/mixed:gone.py")
    request_log(requested).mark_applied([request], "0123456789abcdef", NOW)
    [shown] = explain_run(requested, "mixed", now=NOW).requests
    assert (shown.id, shown.state, shown.receipt_id) == (request, "applied", "0123456789abcdef")
    assert explain_run(requested, "family0", now=NOW).requests == []
    assert explain_run(requested, "mixed:people.py", now=NOW).requests == []


def take_out(run: Path, targets: str, *removed: tuple[str, str, str, str]) -> tuple[str, str]:
    """Leave what a removal leaves: applied requests, and a receipt that names (repository, path, content id, why).

    Returns the ids of the requests and of the receipt.
    """
    ids = [ask(run, target) for target in targets.split()]
    requests = [replace(one, state="applied", how="by mail") for one in request_log(run).requests() if one.id in ids]
    receipt = Receipt(
        date=NOW.isoformat(),
        run=run.name,
        requests=tuple(requests),
        removed=tuple(
            RemovedFile(content_id, repo, "1", path, why, was_used(trained=False)) for repo, path, content_id, why in removed
        ),
        left_for_decision=(),
        tokenizer_sha256=None,
        tokenizer_files_seen=0,
        checkpoints=(),
        artefacts={},
        merkle_before=Merkle("0" * 64, 2),
        merkle_after=Merkle("1" * 64, 1),
    ).content()
    write(run / OPTOUT / RECEIPTS / f"{receipt['receipt_id']}.json", json.dumps(sign(receipt, load_signing_key())))
    request_log(run).mark_applied(ids, receipt["receipt_id"], NOW)
    return ", ".join(ids), receipt["receipt_id"]


GONE, COPY = "a" * 40, "b" * 40
TAKEN = (("github/octo/lib", "src/gone.py", GONE, ASKED_FOR), ("github/hub/fork", "copy.py", COPY, exact_copy_of("x@1:y")))


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("github/octo/lib:src/gone.py", "asked for"),
        ("lib:src/gone.py", "asked for"),
        (GONE, "asked for"),
        ("github/octo/lib", "asked for"),
        ("fork", r"exact copy of x@1:y"),
        ("github/hub/fork:copy.py", r"exact copy of x@1:y"),
        (COPY.upper(), r"exact copy of x@1:y"),
    ],
)
def test_what_a_removal_took_out_names_its_request_and_receipt(requested: Path, target: str, why: str) -> None:
    request, receipt = take_out(requested, "account:Octo", *TAKEN)
    with pytest.raises(GovernanceError, match=rf"was taken out by request {request}, receipt {receipt} \({why}\)") as caught:
        explain_run(requested, target)
    assert caught.value.exit_code == 1


def test_a_removal_of_several_files_says_how_many(requested: Path) -> None:
    more = ("github/octo/lib", "more.py", "c" * 40, ASKED_FOR)
    request, _ = take_out(requested, "github/octo/lib", *TAKEN, more)
    with pytest.raises(GovernanceError, match=rf"request {request}, receipt \w+ \(2 files\)"):
        explain_run(requested, "lib")


def test_of_several_requests_the_one_that_reaches_the_file_is_named(requested: Path) -> None:
    requests, _ = take_out(requested, "github/octo/lib:src/gone.py github/octo/other", *TAKEN)
    first, _, _ = requests.partition(", ")
    with pytest.raises(GovernanceError, match=f"by request {first}, receipt"):
        explain_run(requested, "github/octo/lib:src/gone.py")
    with pytest.raises(GovernanceError, match=f"by request {requests}, receipt"):  # a copy went with one of them
        explain_run(requested, "github/hub/fork:copy.py")
    with pytest.raises(TargetError, match="was not seen in this run"):
        explain_run(requested, "github/octo/lib:src/never.py")


def test_what_an_applied_request_would_take_is_said_to_be_kept_out(requested: Path) -> None:
    request, receipt = take_out(requested, "account:octo", *TAKEN)
    content, other = take_out(requested, "d" * 40)
    with pytest.raises(GovernanceError, match=f"it is kept out by request {content}, receipt {other}"):
        explain_run(requested, "d" * 40)
    for target in ("github/octo/new", "github/octo/new:a.py"):
        with pytest.raises(GovernanceError, match=f"it is kept out by request {request}, receipt {receipt}"):
            explain_run(requested, target)
    with pytest.raises(TargetError, match="was not seen in this run"):
        explain_run(requested, "github/other/new")


def test_a_changed_receipt_is_not_believed_and_the_request_still_answers(requested: Path) -> None:
    request, receipt = take_out(requested, "github/octo/lib", *TAKEN)
    path = requested / OPTOUT / RECEIPTS / f"{receipt}.json"
    path.write_text(path.read_text().replace("copy.py", "evil.py"))
    with pytest.raises(TargetError, match="was not seen in this run"):
        explain_run(requested, "github/hub/fork:evil.py")
    with pytest.raises(GovernanceError, match=f"it is kept out by request {request}, receipt {receipt}"):
        explain_run(requested, "github/octo/lib:src/gone.py")
    write(requested / OPTOUT / REMOVED_FILE, json.dumps(RemovalSet(content_ids=frozenset([COPY])).to_json()))
    with pytest.raises(GovernanceError, match="kept out by a removal whose receipt is not there"):
        explain_run(requested, COPY)


def test_unknown_targets_get_the_nearest_names(asked_run: Path) -> None:
    with pytest.raises(TargetError, match=r"'familly0' was not seen in this run; did you mean 'family0'") as caught:
        explain_run(asked_run, "familly0")
    assert caught.value.exit_code == 2


def check_proof(run: Path, target: str, content_id: str) -> str:
    """Check a proof against the root of the dataset's contents and return its kind."""
    documents = load_artifact(run / "dataset").table("documents").read(["content_id"])
    proof = Proof.from_json(json.loads(json.dumps(proof_of(run, target))))
    verify(proof, content_id, merkle_root(documents.column("content_id").to_pylist()))
    return proof.kind


def test_proofs_are_about_the_contents_of_the_dataset(asked_run: Path, asked_repositories: Path) -> None:
    def content(path: str) -> str:
        return git_blob_id((asked_repositories / path).read_bytes())

    assert check_proof(asked_run, "mixed:people.py", content("mixed/people.py")) == "inclusion"
    assert check_proof(asked_run, content("mixed/people.py"), content("mixed/people.py")) == "inclusion"
    # Dropped, but its bytes are in the dataset under another name.
    assert check_proof(asked_run, "family2:same.py", content("family0/same.py")) == "inclusion"
    assert check_proof(asked_run, "mixed:gpl.py", content("mixed/gpl.py")) == "non_inclusion"
    assert check_proof(asked_run, "traps:binary.py", content("traps/binary.py")) == "non_inclusion"
    assert check_proof(asked_run, "0" * 40, "0" * 40) == "non_inclusion"


def test_a_proof_is_about_one_content(asked_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'mixed' is a repository, and a proof is about one content; name a file"):
        proof_of(asked_run, "mixed")
    with pytest.raises(TargetError, match=r"did you mean 'people\.py'"):
        proof_of(asked_run, "mixed:peple.py")
    rows = [{**entry("a", "f.py", None), "revision": revision, "content_id": revision * 40} for revision in "12"]
    rows.append({**entry("a", "pipe", "unreadable"), "content_id": None})
    run = make_ledger(tmp_path / "run", rows)
    with pytest.raises(UsageError, match=f"several contents; name one of them: {'1' * 40}, {'2' * 40}"):
        proof_of(run, "a:f.py")
    with pytest.raises(GovernanceError, match="has no content id: its bytes were not read"):
        proof_of(run, "a:pipe")


def test_a_proof_about_what_was_taken_out_is_asked_for_by_content(requested: Path) -> None:
    request, _ = take_out(requested, "github/octo/lib", *TAKEN)
    with pytest.raises(GovernanceError, match=f"taken out by request {request}"):
        proof_of(requested, "github/octo/lib:src/gone.py")
    assert check_proof(requested, GONE, GONE) == "non_inclusion"
