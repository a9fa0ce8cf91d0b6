"""The records every stage exchanges: documents, repositories, ledger rows and duplicate edges, as Arrow schemas.

A document is one file of one revision of one repository; its identity is (repo, revision, path), and every table is
sorted by it. `content_id` is the git blob SHA-1 of the original bytes and never changes; `text_id` is the SHA-256 of
the text that is trained on, after decoding and redaction. Names follow The Stack (FACTS A1, A2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

DOCUMENT_KEY = ("repo", "revision", "path")
"""Columns that identify a document and order every table."""

DocumentKey = tuple[str, str, str]
"""The identity of a document: the values of `DOCUMENT_KEY`."""

DOCUMENTS = pa.schema(
    [
        pa.field("content_id", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("revision_date", pa.timestamp("s", tz="UTC")),
        pa.field("path", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("src_encoding", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("stars", pa.int64()),
        pa.field("forks", pa.int64()),
        pa.field("is_vendor", pa.bool_(), nullable=False),
        pa.field("is_generated", pa.bool_(), nullable=False),
        pa.field("detected_licenses", pa.list_(pa.string())),
        pa.field("license_type", pa.string()),
        pa.field("split", pa.string()),
        pa.field("content", pa.string(), nullable=False),
        pa.field("text_id", pa.string()),
    ]
)
"""Table `documents` of corpus and dataset. Before curate, licences, split and text_id are null."""

REPOSITORIES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("revision_date", pa.timestamp("s", tz="UTC")),
        pa.field("declared_license", pa.string()),  # SPDX expression or the declaration as it was found; null when none
        pa.field("license_origin", pa.string()),  # where the declaration stands, e.g. "METADATA License-Expression"
    ]
)
"""Table `repositories` of the corpus: what each repository declares about itself."""

NOTICES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_id", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),  # UTF-8; what is not becomes U+FFFD
    ]
)
"""Table `notices` of the corpus: files whose name says licence or consent, admitted as documents or not."""

FIRED_RULE = pa.struct(
    [
        pa.field("rule", pa.string(), nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("value", pa.float64()),  # the measured value
        pa.field("limit", pa.float64()),  # the threshold it broke
        pa.field("start", pa.int64()),  # span in characters of the decoded original text
        pa.field("end", pa.int64()),
        pa.field(
            "matched", pa.string()
        ),  # licence expression, phrase, encoding; for secrets the keyed hash, never the value
        pa.field("kept", pa.string()),  # the duplicate that was kept, as repo@revision:path
    ]
)
"""One rule that fired, with its evidence. Unused evidence fields are null."""

LEDGER = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_id", pa.string()),  # null only when the bytes could not be read
        pa.field("source", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("verdict", pa.string(), nullable=False),  # keep or drop
        pa.field("rule", pa.string()),  # the rule that decided a drop; null for keep
        pa.field("rule_version", pa.int32()),
        pa.field("reason", pa.string()),  # names the rule that was broken, e.g. line_too_long
        pa.field("split", pa.string()),  # train, validation or test; null for drop
        pa.field("license_type", pa.string()),
        pa.field("fired", pa.list_(pa.field("item", FIRED_RULE, nullable=False)), nullable=False),
    ]
)
"""Table `ledger`: one row for each file seen, with the verdict and its evidence."""

CLUSTERS = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),  # the member of lower rank
        pa.field("revision", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_id", pa.string(), nullable=False),
        pa.field("other_repo", pa.string(), nullable=False),  # the member of higher rank
        pa.field("other_revision", pa.string(), nullable=False),
        pa.field("other_path", pa.string(), nullable=False),
        pa.field("other_content_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # exact or near
        pa.field("similarity", pa.float64(), nullable=False),  # exact Jaccard of their shingles; 1.0 for exact copies
        pa.field("decisive", pa.bool_(), nullable=False),  # the first was dropped because the other is kept
    ]
)
"""Table `clusters` of the dataset: verified duplicate edges. Each dropped copy has one decisive edge, to its kept member."""


@dataclass(frozen=True)
class Fired:
    """One rule that fired on a document, with its evidence. Field meanings as in `FIRED_RULE`."""

    rule: str
    version: int
    reason: str
    value: float | None = None
    limit: float | None = None
    start: int | None = None
    end: int | None = None
    matched: str | None = None
    kept: str | None = None


def git_blob_id(data: bytes) -> str:
    """Return the git blob SHA-1 of `data`: 40 hexadecimal digits, also its Software Heritage content identifier."""
    digest = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8: the `text_id` of what is trained on."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def key_of(row: Mapping[str, Any]) -> DocumentKey:
    """Return the identity of the document that a row of any table is about."""
    return row["repo"], row["revision"], row["path"]


def document_name(repo: str, revision: str, path: str) -> str:
    """Return the one-line name of a document, `repo@revision:path`."""
    return f"{repo}@{revision}:{path}"
