"""Receipts: signed by the operator's own key, and worthless once a character is changed."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from stackwright import __version__
from stackwright.errors import ReceiptError
from stackwright.govern.receipts import (
    ASKED_FOR,
    CheckpointSeen,
    Digests,
    Merkle,
    NearCopy,
    Receipt,
    RemovedFile,
    exact_copy_of,
    key_name,
    load_signing_key,
    near_copy_of,
    public_key_text,
    receipt_id,
    sign,
    similarity_text,
    verify_receipt,
    was_left_out,
    was_used,
)
from stackwright.govern.requests import Request

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
ID = "0123456789abcdef0123456789abcdef01234567"
ORIGIN = "directory/x@unversioned:a.py"

REQUESTS = (
    Request("r0010", "2026-11-24T09:30:00+00:00", "bob", ID, "content", "mine"),
    Request("r0002", "2026-11-23T09:30:00+00:00", "Änn", "directory/x", "repository", "no", "verified", how="by mail"),
)
RECEIPT = Receipt(
    date="2026-11-24T10:00:00+00:00",
    run="tiny",
    requests=REQUESTS,
    removed=(
        RemovedFile(ID, "directory/y", "unversioned", "b.py", exact_copy_of(ORIGIN), was_used(trained=False)),
        RemovedFile(ID, "directory/x", "unversioned", "a.py", ASKED_FOR, was_used(trained=True)),
        RemovedFile(None, "directory/x", "unversioned", "link", ASKED_FOR, was_left_out("symlink", admitted=False)),
        RemovedFile(
            ID[::-1], "fork/x", "1", "a.py", near_copy_of(ORIGIN, 0.93), was_left_out("near_duplicate", admitted=True)
        ),
    ),
    left_for_decision=(NearCopy(ID[::-1], "directory/z", "1", "c.py", ORIGIN, similarity_text(0.8125)),),
    tokenizer_sha256="1" * 64,
    tokenizer_files_seen=2,
    checkpoints=(CheckpointSeen("step-000200", 200, 2, 7), CheckpointSeen("step-000100", 100, 1, 3)),
    artefacts={"dataset": Digests("2" * 64, "3" * 64), "index": Digests(None, "4" * 64)},
    merkle_before=Merkle("5" * 64, 12),
    merkle_after=Merkle("6" * 64, 10),
)


# What a receipt says


def test_a_receipt_holds_what_happened_in_a_fixed_order() -> None:
    content = RECEIPT.content()
    assert {key: content[key] for key in ("format", "run", "stackwright")} == {
        "format": 1,
        "run": "tiny",
        "stackwright": __version__,
    }
    assert [(request["id"], request["verified"]) for request in content["requests"]] == [
        ("r0002", "by mail"),
        ("r0010", "verified by operator at apply"),
    ]
    assert set(content["requests"][0]) == {"id", "target", "scope", "requester", "reason", "date", "verified"}
    assert [(entry["repo"], entry["path"], entry["why"], entry["was"]) for entry in content["removed"]] == [
        ("directory/x", "a.py", "asked for", "trained on"),
        ("directory/x", "link", "asked for", "not admitted: symlink"),
        ("directory/y", "b.py", f"exact copy of {ORIGIN}", "in the dataset"),
        ("fork/x", "a.py", f"near copy of {ORIGIN} (0.930)", "dropped: near_duplicate"),
    ]
    assert content["left_for_decision"][0]["similarity"] == "0.812"
    assert content["tokenizer"] == {"kept": True, "removed_files_seen": 2, "sha256": "1" * 64}
    assert [entry["step"] for entry in content["checkpoints"]] == [100, 200]
    assert content["artefacts"]["index"] == {"before": None, "after": "4" * 64}
    assert content["merkle"] == {"before": {"root": "5" * 64, "num_ids": 12}, "after": {"root": "6" * 64, "num_ids": 10}}


def test_the_id_is_made_of_the_content_whatever_its_order() -> None:
    content = RECEIPT.content()
    assert content["receipt_id"] == receipt_id(content)
    shuffled = replace(
        RECEIPT, requests=REQUESTS[::-1], removed=RECEIPT.removed[::-1], checkpoints=RECEIPT.checkpoints[::-1]
    )
    assert shuffled.content() == content
    assert replace(RECEIPT, run="large").content()["receipt_id"] != content["receipt_id"]


def test_the_documented_bytes_are_those_that_are_signed() -> None:
    """Made here as governance.md says, without the package."""
    signed = json.loads(json.dumps(sign(RECEIPT.content(), KEY)))
    text = json.dumps(signed["receipt"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    public_key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signed["public_key"]))
    public_key.verify(base64.b64decode(signed["signature"]), text.encode("utf-8"))
    assert signed["algorithm"] == "Ed25519"
    rest = {key: value for key, value in signed["receipt"].items() if key != "receipt_id"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert signed["receipt"]["receipt_id"] == sha256(text.encode("utf-8")).hexdigest()[:16]


def test_signing_again_gives_the_same() -> None:
    assert sign(RECEIPT.content(), KEY) == sign(RECEIPT.content(), KEY)


def with_id(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"receipt_id": receipt_id(content)}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (RECEIPT.content() | {"receipt_id": "0" * 16}, "is not that of the content"),
        (with_id(RECEIPT.content() | {"share": 0.5}), "0.5 is not a number that a receipt holds"),
        (with_id(RECEIPT.content() | {"format": 2}), "has format 2"),
    ],
)
def test_what_would_not_hold_is_not_signed(content: dict[str, Any], why: str) -> None:
    with pytest.raises(ReceiptError, match=why):
        sign(content, KEY)


def test_what_is_no_text_is_not_signed() -> None:
    with pytest.raises(ReceiptError, match=r"holds '\\udcff', which no text does; leave it out"):
        replace(RECEIPT, run="\udcff").content()


# Checking one


def signed_text(key: Ed25519PrivateKey = KEY) -> str:
    return json.dumps(sign(RECEIPT.content(), key), indent=2, ensure_ascii=False)


def test_a_receipt_holds_as_text_as_bytes_and_as_a_value() -> None:
    for value in (signed_text(), signed_text().encode(), json.loads(signed_text())):
        verified = verify_receipt(value, public_key_text(KEY) + "\n")
        assert verified.content == RECEIPT.content()
        assert verified.note == f"signed with the given key {verified.key_name}"
        assert verified.key_name == sha256(KEY.public_key().public_bytes_raw()).hexdigest()[:16]


def test_without_a_key_the_reader_is_told_to_compare_its_name() -> None:
    verified = verify_receipt(signed_text())
    name = key_name(KEY.public_key().public_bytes_raw())
    expected = f"the key is the receipt's own: compare its name {name} with the one the operator publishes"
    assert (verified.key_name, verified.note) == (name, expected)


def changed(edit: Callable[[dict[str, Any]], object]) -> str:
    value = json.loads(signed_text())
    edit(value)
    return json.dumps(value)


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value["receipt"].update(run="large"),
        lambda value: value["receipt"].update(note="more"),
        lambda value: value["receipt"].pop("left_for_decision"),
        lambda value: value["receipt"]["removed"].pop(),
        lambda value: value["receipt"]["removed"][0].update(was="in the dataset"),
        lambda value: value["receipt"]["tokenizer"].update(removed_files_seen=0),
        lambda value: value["receipt"]["tokenizer"].update(kept=1),
        lambda value: value["receipt"].update(receipt_id="0" * 16),
        lambda value: value.update(signature=sign(replace(RECEIPT, run="x").content(), KEY)["signature"]),
        lambda value: value.update(public_key=public_key_text(OTHER)),
    ],
)
def test_an_edited_receipt_is_refused(edit: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ReceiptError, match=r"the receipt was changed: it is not what the key [0-9a-f]{16} signed; ask the"):
        verify_receipt(changed(edit))


def test_a_receipt_of_another_key_is_refused_with_both_names() -> None:
    names = [key_name(key.public_key().public_bytes_raw()) for key in (OTHER, KEY)]
    with pytest.raises(ReceiptError, match=f"signed with the key {names[0]}, not with the given key {names[1]}"):
        verify_receipt(signed_text(OTHER), public_key_text(KEY))


def test_an_id_that_does_not_fit_is_refused_even_when_it_was_signed() -> None:
    content = RECEIPT.content() | {"receipt_id": "0" * 16}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    signature = base64.b64encode(KEY.sign(text.encode())).decode()
    with pytest.raises(ReceiptError, match=f"the receipt id '{'0' * 16}' is not that of the content, {receipt_id(content)}"):
        verify_receipt(changed(lambda value: value.update(receipt=content, signature=signature)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (signed_text()[:-3], "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "no signed receipt"),
        ("{}", "no signed receipt"),
        (json.dumps(RECEIPT.content()), "no signed receipt"),
        (changed(lambda value: value["receipt"].update(format=2)), "has format 2, this version reads format 1"),
        (changed(lambda value: value["receipt"].update(format=True)), "has format True"),
        (changed(lambda value: value["receipt"].pop("format")), "has format None"),
        (changed(lambda value: value["receipt"].update(share=0.5)), "0.5 is not a number that a receipt holds"),
        (changed(lambda value: value["receipt"].update(share=float("nan"))), "NaN is not a number"),
        (signed_text().replace('"run"', '"run": "large", "run"'), "a key comes twice"),
        (changed(lambda value: value.update(note="x")), "has an unknown key 'note'"),
        (changed(lambda value: value.pop("signature")), "lacks 'signature'"),
        (changed(lambda value: value.update(algorithm="none")), "signed by 'none', not by Ed25519"),
        (changed(lambda value: value.update(signature="!")), "the signature '!' is not 64 bytes"),
        (changed(lambda value: value.update(signature="*" + value["signature"])), "is not 64 bytes"),
        (changed(lambda value: value.update(signature="")), "the signature '' is not 64 bytes"),
        (changed(lambda value: value.update(public_key=5)), "the public key 5 is not 32 bytes"),
    ],
    ids=range(20),
)
def test_what_is_no_receipt_is_refused_with_the_reason(text: str | bytes, why: str) -> None:
    with pytest.raises(ReceiptError, match=why):
        verify_receipt(text)


def test_a_given_key_that_is_none_is_refused() -> None:
    with pytest.raises(ReceiptError, match="the given public key 'key' is not 32 bytes in base64"):
        verify_receipt(signed_text(), "key")


# The operator's key


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("STACKWRIGHT_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "stackwright"


def write_key(path: Path, key: Any = KEY, password: bytes | None = None, mode: int = 0o600) -> Path:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    path.chmod(mode)
    return path


def test_the_key_is_made_once_and_only_its_owner_may_read_it(configuration: Path) -> None:
    key = load_signing_key()
    path = configuration / "signing.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert public_key_text(load_signing_key()) == public_key_text(key)
    assert list(configuration.iterdir()) == [path]


def test_two_keys_are_not_the_same(configuration: Path) -> None:
    first = public_key_text(load_signing_key())
    (configuration / "signing.key").unlink()
    assert public_key_text(load_signing_key()) != first


def test_a_named_key_is_used(configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKWRIGHT_SIGNING_KEY_FILE", str(write_key(tmp_path / "key.pem")))
    assert public_key_text(load_signing_key()) == public_key_text(KEY)
    assert not configuration.exists()


def test_a_named_key_that_is_missing_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKWRIGHT_SIGNING_KEY_FILE", str(tmp_path / "folder" / "key.pem"))
    with pytest.raises(
        ReceiptError, match=r"signing key .*key\.pem cannot be used \(No such file.*\); mend STACKWRIGHT_SIGN"
    ):
        load_signing_key()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: write_key(path, mode=0o640), "may be read by others; run: chmod 600 "),
        (lambda path: write_key(path, password=b"word"), "give a PKCS #8 key without a password"),
        (lambda path: write_key(path, generate_private_key(SECP256R1())), "is not an Ed25519 key; make one with: openssl"),
        (lambda path: path.write_bytes(b"") or path.chmod(0o600), "cannot be read"),
    ],
    ids=["mode", "password", "algorithm", "empty"],
)
def test_a_key_that_cannot_be_used_is_refused_with_the_reason(
    make: Callable[[Path], object], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.pem"
    make(path)
    monkeypatch.setenv("STACKWRIGHT_SIGNING_KEY_FILE", str(path))
    with pytest.raises(ReceiptError) as caught:
        load_signing_key()
    assert str(caught.value).startswith(f"signing key {path} ")
    assert why in str(caught.value)


def test_a_place_that_cannot_be_used_is_named(configuration: Path) -> None:
    configuration.parent.mkdir()
    configuration.touch()
    with pytest.raises(ReceiptError, match=r"cannot be used .*; set STACKWRIGHT_SIGNING_KEY_FILE to a file you own"):
        load_signing_key()


def test_a_key_that_another_process_made_meanwhile_is_kept(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stackwright.govern import receipts

    def link(_: Path, path: Path) -> None:
        write_key(path)
        raise FileExistsError

    monkeypatch.setattr(receipts.os, "link", link)
    assert public_key_text(load_signing_key()) == public_key_text(KEY)
    assert [path.name for path in configuration.iterdir()] == ["signing.key"]


def test_importing_the_modules_loads_no_cryptography_and_no_pyarrow() -> None:
    names = ("requests", "receipts", "proofs", "consent")
    code = "".join(f"import stackwright.govern.{name}\n" for name in names) + "import sys\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "stackwright.govern.receipts" in loaded
    assert not {"cryptography", "pyarrow", "numpy", "duckdb"} & set(loaded)
