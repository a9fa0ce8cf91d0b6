"""Receipts: what a removal did and what it left, signed by the operator.

In: the facts of a removal, and the operator's Ed25519 key. Out: JSON that the requester keeps and anybody can check. The
signature covers the canonical JSON of `receipt`, in UTF-8: sorted keys, no white space, no fractions, so that a program in
any language can make the same bytes. `receipt_id` is made of the content, so one removal has one receipt.

The key belongs to the operator, not to the run. It lies in one file with mode 600, made on first use in the user's
configuration folder; a file that `STACKWRIGHT_SIGNING_KEY_FILE` names must be there, since a key that was made because
of a misspelt name would sign what nobody can connect with the operator.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn

from stackwright import __version__
from stackwright.errors import ReceiptError
from stackwright.files import canonical_json, key_file, make_secret_file
from stackwright.govern.requests import VERIFIED_AT_APPLY, Request

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = 1
ALGORITHM = "Ed25519"
KEY_FILE_VARIABLE = "STACKWRIGHT_SIGNING_KEY_FILE"
NAME_DIGITS = 16
"""Hexadecimal digits of a receipt's id and of a key's name."""

ASKED_FOR = "asked for"
"""Why a file went: a request names it."""

_SIGNED_KEYS = {"receipt", "signature", "public_key", "algorithm"}
_ASK = "ask the operator for the receipt as it was signed"


@dataclass(frozen=True)
class RemovedFile:
    """A file that went. `why` and `was` are `ASKED_FOR` or made by the functions below: all receipts use the same words."""

    content_id: str | None  # None when its bytes could never be read
    repo: str
    revision: str
    path: str
    why: str
    was: str


@dataclass(frozen=True)
class NearCopy:
    """A near copy that is still there, for somebody to decide about."""

    content_id: str
    repo: str
    revision: str
    path: str
    copy_of: str  # the removed file, as repo@revision:path
    similarity: str  # as text: a receipt holds no fractions


@dataclass(frozen=True)
class CheckpointSeen:
    """How much of what was removed a checkpoint had been trained on."""

    name: str
    step: int
    files_seen: int
    samples: int


@dataclass(frozen=True)
class Digests:
    """An artefact before and after; None where there was none or is none."""

    before: str | None
    after: str | None


@dataclass(frozen=True)
class Merkle:
    """The root over the content ids of the dataset, and how many there are."""

    root: str
    num_ids: int


@dataclass(frozen=True)
class Receipt:
    """All that a receipt says. Lists may come in any order; they are written in a fixed one."""

    date: str  # UTC, to the second, as ISO 8601
    run: str
    requests: tuple[Request, ...]
    removed: tuple[RemovedFile, ...]
    left_for_decision: tuple[NearCopy, ...]
    tokenizer_sha256: str | None  # None where the run has none yet
    tokenizer_files_seen: int  # removed files that the tokenizer was trained on
    checkpoints: tuple[CheckpointSeen, ...]
    artefacts: Mapping[str, Digests]
    merkle_before: Merkle
    merkle_after: Merkle
    tokenizer_kept: bool = True

    def content(self) -> dict[str, Any]:
        """Return the receipt as a JSON value, with its id."""
        value: dict[str, Any] = {
            "format": FORMAT,
            "date": self.date,
            "run": self.run,
            "stackwright": __version__,
            "requests": [
                _request_entry(request)
                for request in sorted(self.requests, key=lambda request: (len(request.id), request.id))
            ],
            "removed": _sorted_files(self.removed),
            "left_for_decision": _sorted_files(self.left_for_decision),
            "tokenizer": {
                "kept": self.tokenizer_kept,
                "removed_files_seen": self.tokenizer_files_seen,
                "sha256": self.tokenizer_sha256,
            },
            "checkpoints": [asdict(entry) for entry in sorted(self.checkpoints, key=lambda entry: (entry.step, entry.name))],
            "artefacts": {name: asdict(digests) for name, digests in sorted(self.artefacts.items())},
            "merkle": {"before": asdict(self.merkle_before), "after": asdict(self.merkle_after)},
        }
        return value | {"receipt_id": receipt_id(value)}


def exact_copy_of(name: str) -> str:
    """Why a file went: its bytes are those of a file that was asked for, named `repo@revision:path`."""
    return f"exact copy of {name}"


def near_copy_of(name: str, similarity: float) -> str:
    """Why a file went: it was a near copy, and it was decided to take it too."""
    return f"near copy of {name} ({similarity_text(similarity)})"


def similarity_text(similarity: float) -> str:
    """Return a similarity (0 to 1) as receipts write it."""
    return f"{similarity:.3f}"


def was_used(*, trained: bool) -> str:
    """What a file was: in the dataset and, where a checkpoint saw it, trained on."""
    return "trained on" if trained else "in the dataset"


def was_left_out(reason: str, *, admitted: bool) -> str:
    """What a file was: dropped by curate, or not admitted by collect, for this reason of the ledger."""
    return f"dropped: {reason}" if admitted else f"not admitted: {reason}"


def receipt_id(content: Mapping[str, Any]) -> str:
    """Return the id that belongs to a content: it is made of everything but the id."""
    rest = {name: value for name, value in content.items() if name != "receipt_id"}
    return sha256(_signed_bytes(rest)).hexdigest()[:NAME_DIGITS]


def sign(content: Mapping[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return the signed receipt as a JSON value. Signing the same content with the same key gives the same bytes.

    Raises `ReceiptError` for a content whose receipt would not hold.
    """
    signed = {
        "receipt": dict(content),
        "signature": base64.b64encode(key.sign(_signed_bytes(content))).decode("ascii"),
        "public_key": public_key_text(key),
        "algorithm": ALGORITHM,
    }
    verify_receipt(signed)
    return signed


@dataclass(frozen=True)
class VerifiedReceipt:
    """A receipt that holds, and under which key. `note` says what is left for the reader to compare."""

    content: Mapping[str, Any]
    key_name: str
    note: str


def verify_receipt(value: str | bytes | Mapping[str, Any], public_key: str | None = None) -> VerifiedReceipt:
    """Check a signed receipt, as text or as the JSON value that it holds.

    Args:
        public_key: the operator's key, as `public_key_text` writes it. Without it the receipt's own key is used, which
            shows only that nothing was changed since that key signed.

    Raises:
        ReceiptError: it is not JSON, not a receipt of this format, was changed, was signed with another key, or has
            an id that is not that of its content.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signed = _parse(value)
    content = signed["receipt"]
    own = _decode(signed["public_key"], 32, "public key")
    signature = _decode(signed["signature"], 64, "signature")
    name = key_name(own)
    if public_key is not None and (given := _decode(public_key.strip(), 32, "given public key")) != own:
        _refuse(f"the receipt is signed with the key {name}, not with the given key {key_name(given)}", _ASK)
    try:
        Ed25519PublicKey.from_public_bytes(own).verify(signature, _signed_bytes(content))
    except InvalidSignature:
        _refuse(f"the receipt was changed: it is not what the key {name} signed", _ASK)
    if content.get("receipt_id") != receipt_id(content):
        _refuse(f"the receipt id {content.get('receipt_id')!r} is not that of the content, {receipt_id(content)}", _ASK)
    own_key = f"the key is the receipt's own: compare its name {name} with the one the operator publishes"
    return VerifiedReceipt(content, name, own_key if public_key is None else f"signed with the given key {name}")


def key_name(public_key: bytes) -> str:
    """Return the short name of a public key of 32 bytes, by which people compare it."""
    return sha256(public_key).hexdigest()[:NAME_DIGITS]


def public_key_text(key: Ed25519PrivateKey) -> str:
    """Return the public half of a key in base64."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode("ascii")


def load_signing_key() -> Ed25519PrivateKey:
    """Return the operator's key; makes it on first use, but never where `STACKWRIGHT_SIGNING_KEY_FILE` is set.

    Raises:
        ReceiptError: the file is missing though named, cannot be made or read, is no Ed25519 key, or others may read it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path, is_named = key_file(KEY_FILE_VARIABLE, "signing.key"), bool(os.environ.get(KEY_FILE_VARIABLE))
    try:
        if not is_named:
            make_secret_file(path, _new_key)
        data = path.read_bytes()
        mode = path.stat().st_mode & 0o077
    except OSError as error:
        action = f"mend {KEY_FILE_VARIABLE}" if is_named else f"set {KEY_FILE_VARIABLE} to a file you own"
        raise ReceiptError(f"signing key {path} cannot be used ({error.strerror})", action) from error
    if mode:
        _refuse(f"signing key {path} may be read by others", f"run: chmod 600 {path}")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
        raise ReceiptError(
            f"signing key {path} cannot be read ({error})", "give a PKCS #8 key without a password"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        _refuse(f"signing key {path} is not an Ed25519 key", "make one with: openssl genpkey -algorithm ed25519")
    return key


def _new_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _request_entry(request: Request) -> dict[str, Any]:
    entry = {name: getattr(request, name) for name in ("id", "target", "scope", "requester", "reason", "date")}
    return entry | {"verified": request.how or VERIFIED_AT_APPLY}


def _sorted_files(files: Iterable[RemovedFile | NearCopy]) -> list[dict[str, Any]]:
    return [asdict(file) for file in sorted(files, key=lambda file: (file.repo, file.revision, file.path))]


def _signed_bytes(content: Mapping[str, Any]) -> bytes:
    try:
        return canonical_json(content).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ReceiptError(f"the receipt holds {error.object[error.start]!r}, which no text does", "leave it out") from error


def _parse(given: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    """Read a signed receipt up to its signature. Raises `ReceiptError`."""
    try:
        text = given if isinstance(given, (str, bytes)) else canonical_json(given)
        value = json.loads(text, object_pairs_hook=_unique, parse_float=_no_fraction, parse_constant=_no_fraction)
    except (ValueError, RecursionError) as error:
        raise ReceiptError(f"the receipt is not JSON ({error})", _ASK) from error
    if not isinstance(value, dict) or not isinstance(value.get("receipt"), dict):
        _refuse("this is JSON, but no signed receipt", _ASK)
    found = value["receipt"].get("format")
    if type(found) is not int or found != FORMAT:
        action = "use the version of stackwright that wrote it"
        _refuse(f"the receipt has format {found!r}, this version reads format {FORMAT}", action)
    if wrong := sorted(_SIGNED_KEYS ^ value.keys()):
        _refuse(f"the receipt {'lacks' if wrong[0] in _SIGNED_KEYS else 'has an unknown key'} {wrong[0]!r}", _ASK)
    if value["algorithm"] != ALGORITHM:
        _refuse(f"the receipt is signed by {value['algorithm']!r}, not by {ALGORITHM}", _ASK)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object in which a key comes twice: a reader may see the first, and the signature is of the last."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key comes twice in one object")
    return value


def _no_fraction(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that a receipt holds")


def _decode(text: object, num_bytes: int, name: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != num_bytes:
        _refuse(f"the {name} {text!r} is not {num_bytes} bytes in base64", _ASK)
    return data


def _refuse(problem: str, action: str) -> NoReturn:
    raise ReceiptError(problem, action)
