"""`stackwright optout` from the command line: what it prints, at 80 columns, and one line for every mistake."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stackwright.artifact import load_artifact
from stackwright.govern.receipts import Merkle, Receipt, load_signing_key, public_key_text, sign
from stackwright.run_folder import begin_switch, pending_switch
from tests.test_cli import one_line_error, run


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def optout(folder: Path, *arguments: str) -> str:
    result = run("optout", str(folder), *arguments)
    assert result.returncode == 0, result.stderr
    if "--json" not in arguments:
        assert all(len(line) <= 80 for line in result.stdout.splitlines() if str(folder) not in line), result.stdout
    return result.stdout


def add(folder: Path, target: str, requester: str = "A. Author") -> str:
    return optout(folder, "add", target, "--requester", requester, "--reason", "I did not agree")


def test_a_request_goes_its_way_from_add_to_verify(folder: Path) -> None:
    assert "r0001 recorded: directory/repo00:src/*.py" in add(folder, "directory/repo00:src/*.py")
    assert "r0001 known since" in add(folder, "directory/repo00:src/*.py")
    assert "r0002 recorded" in add(folder, "account:nobody")
    assert "Nothing in this run matches it now." in add(folder, "account:somebody-else")
    listed = optout(folder, "list", "--open")
    assert listed.count(" open ") == 3
    assert "(today)" in listed
    assert "A. Author: I did not agree" in listed
    assert "r0001 verified: a mail" in optout(folder, "decide", "r0001", "--verified", "a mail")
    assert "r0003 refused: not theirs" in optout(folder, "decide", "r0003", "--refused", "not theirs")
    plan = optout(folder, "apply", "--dry-run")
    assert "files would go" in plan
    assert "asked for; was in the dataset" in plan
    assert "exact copy of directory/repo00@unversioned:src/module0.py" in " ".join(plan.split())
    done = optout(folder, "apply")
    assert "files taken out" in done
    assert "r0002: nothing in this run matches account:nobody; the request stays open." in done
    assert "near copies that stay" in done.lower()
    [receipt] = (folder / "optout" / "receipts").glob("*.json")
    verified = optout(folder, "verify", str(receipt))
    assert f"The receipt {receipt.stem} holds" in verified
    assert "compare its name" in " ".join(verified.split())
    key = json.loads(receipt.read_text("utf-8"))["public_key"]
    assert "signed with the given key" in " ".join(optout(folder, "verify", str(receipt), "--public-key", key).split())
    assert f"r0001 was applied already: receipt {receipt.stem}." in optout(folder, "apply", "r0001")
    assert "it was taken out by request r0001" in one_line_error(run("explain", str(folder), "repo00:src/module0.py"))


def test_everything_is_there_as_json(folder: Path) -> None:
    reply = json.loads(optout(folder, "add", "directory/traps:copy.py", "--requester", "A", "--reason", "b", "--json"))
    assert (reply["id"], reply["is_new"], reply["files"]) == ("r0001", True, 2)
    plan = json.loads(optout(folder, "apply", "--dry-run", "--json"))
    assert [file["why"].partition(" of ")[0] for file in plan["removed"]] == ["exact copy", "asked for"]
    assert json.loads(optout(folder, "list", "--json"))[0]["age_days"] == 0
    removal = json.loads(optout(folder, "apply", "--json"))
    assert removal["receipt"]["receipt"]["requests"][0]["id"] == "r0001"
    assert Path(removal["receipt_file"]).is_file()


def test_mistakes_are_one_line(folder: Path, tmp_path: Path) -> None:
    def error(*arguments: str) -> str:
        return one_line_error(run("optout", str(folder), *arguments))

    assert "is not a target" in error("add", "numpy", "--requester", "A", "--reason", "b")
    assert "the requester is missing" in error("add", "directory/x", "--requester", " ", "--reason", "b")
    assert "there is no request 'r0007'" in error("apply", "r0007")
    assert "give --verified HOW or --refused WHY" in error("decide", "r0001")
    assert "cannot be read" in error("verify", str(tmp_path / "missing.json"))
    forged = tmp_path / "forged.json"
    forged.write_text('{"receipt": {"format": 1}}', "utf-8")
    assert "the receipt lacks 'algorithm'" in error("verify", str(forged))
    assert "is not a run folder" in one_line_error(run("optout", str(tmp_path / "nowhere"), "list"))
    log = folder / "optout" / "requests.jsonl"
    log.parent.mkdir(exist_ok=True)
    log.write_text('{"event": "added"}\n', "utf-8")
    assert "requests.jsonl line 1 is damaged" in error("list")


def test_an_edited_receipt_is_refused(folder: Path) -> None:
    add(folder, "directory/traps:copy.py")
    optout(folder, "apply")
    [receipt] = (folder / "optout" / "receipts").glob("*.json")
    value = json.loads(receipt.read_text("utf-8"))
    value["receipt"]["removed"].pop()
    receipt.write_text(json.dumps(value), "utf-8")
    assert "the receipt was changed" in one_line_error(run("optout", str(folder), "verify", str(receipt)))


def test_near_copies_says_which_of_them_go_and_the_tokenizer_is_learned_anew_when_asked(folder: Path) -> None:
    def near_of(plan: dict[str, Any]) -> tuple[list[str], list[str]]:
        going = [file["path"] for file in plan["removed"] if file["why"].startswith("near copy")]
        return going, [copy["path"] for copy in plan["left_for_decision"]]

    add(folder, "directory/repo00:src/module1.py")
    everything, nothing = (
        json.loads(optout(folder, "apply", "--dry-run", "--near-copies", which, "--json")) for which in ("all", "none")
    )
    assert near_of(everything) == (["edited.py"], [])
    assert near_of(nothing) == ([], ["edited.py"])
    before = load_artifact(folder / "tokenizer").digest
    arguments = ("--near-copies", "none", "--retrain-tokenizer", "--workers", "1", "--json")
    receipt = json.loads(optout(folder, "apply", *arguments))["receipt"]["receipt"]
    assert near_of(receipt) == ([], ["edited.py"])
    after = load_artifact(folder / "tokenizer")
    assert after.digest != before
    assert after.manifest.content["inputs"]["dataset"] == load_artifact(folder / "dataset").digest
    assert (receipt["tokenizer"]["kept"], receipt["tokenizer"]["sha256"]) == (False, after.digest)


@pytest.mark.parametrize("command", ["build", "cite"])
def test_a_removal_that_was_killed_is_completed_before_a_run_is_built_or_cited(folder: Path, command: str) -> None:
    add(folder, "directory/repo00:src/module0.py")
    applied = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")  # the request is of today's clock too
    note = {"requests": ["r0001"], "receipt_id": "0123456789abcdef", "date": applied}
    begin_switch(folder, [], note)
    arguments = {"build": [str(folder / "recipe.toml"), "--out", str(folder), "--to", "collect"], "cite": [str(folder)]}
    result = run(command, *arguments[command])
    assert result.returncode == 0, result.stderr
    assert pending_switch(folder) is None
    assert "r0001 was applied already: receipt 0123456789abcdef." in optout(folder, "apply", "r0001")


def test_a_receipt_is_checked_with_a_key_that_lies_in_a_file(tmp_path: Path) -> None:
    own, other = load_signing_key(), Ed25519PrivateKey.from_private_bytes(b"o" * 32)
    files = {name: tmp_path / name for name in ("receipt.json", "own.pub", "other.pub", "odd.pub")}
    nothing = Merkle("0" * 64, 0)
    content = Receipt(
        "2026-11-25T12:00:00+00:00", "run", (), (), (), None, 0, (), {}, merkle_before=nothing, merkle_after=nothing
    ).content()
    files["receipt.json"].write_text(json.dumps(sign(content, own)), "utf-8")
    files["own.pub"].write_text(f"{public_key_text(own)}\n", "ascii")
    files["other.pub"].write_text(f"{public_key_text(other)}\n", "ascii")
    files["odd.pub"].write_bytes(b"\xff\xfe")

    def verify(key: object) -> subprocess.CompletedProcess[str]:
        return run("optout", str(tmp_path), "verify", str(files["receipt.json"]), "--public-key", str(key))

    assert "signed with the given key" in " ".join(verify(files["own.pub"]).stdout.split())
    assert "not with the given key" in one_line_error(verify(files["other.pub"]))
    assert "or the key cannot be read" in one_line_error(verify(files["odd.pub"]))
    assert "is not 32 bytes in base64" in one_line_error(verify(tmp_path / "missing.pub"))
    assert "File name too long" in one_line_error(verify("A" * 5000))


def test_the_examples_of_the_help_are_there() -> None:
    for command in ("add", "list", "decide", "apply", "verify"):
        result = run("optout", "runs/tiny", command, "--help")
        assert "Example: stackwright optout" in result.stdout
