"""The held-out documents: which files every task is scored on, and their texts.

In: tokens and dataset. Out: whole documents of the test split up to a number of bytes, of the validation split where the
test split is empty. The choice depends on the dataset alone, so that two models are scored on the same files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stackwright.artifact import Artifact, Table
from stackwright.data.loader import TokenDataset
from stackwright.document import document_name
from stackwright.tokenizer.codec import Tokenizer
from stackwright.train.validation import choose_documents

Row = Mapping[str, Any]


@dataclass(frozen=True)
class HeldOut:
    """The documents that are scored: rows of the tokens table, and their numbers in the split."""

    split: str
    dataset: TokenDataset
    documents: Sequence[int]
    rows: Sequence[Row]

    @property
    def names(self) -> list[str]:
        return [name_of(row) for row in self.rows]


def name_of(row: Row) -> str:
    """Return the name of the document that a row of any table is about."""
    return document_name(row["repo"], row["revision"], row["path"])


def choose_held_out(tokens: Artifact, tokenizer: Tokenizer, max_bytes: int) -> HeldOut | None:
    """Return whole documents of the test split up to `max_bytes`, of validation where there are none, else None."""
    table = tokens.table("documents").read()
    for split in ("test", "validation"):
        dataset = TokenDataset(tokens, split, tokenizer.sha256)
        documents = choose_documents(dataset.num_bytes, max_bytes)
        if documents:
            rows = table.take(dataset.rows[documents]).to_pylist()
            return HeldOut(split, dataset, documents, rows)
    return None


def choose_part(held_out: HeldOut, max_bytes: int) -> HeldOut:
    """Return the part on which every checkpoint is scored: documents up to `max_bytes`, the smallest where none fits."""
    sizes = held_out.dataset.num_bytes[list(held_out.documents)]
    fitting = np.flatnonzero(sizes <= max_bytes)
    if len(fitting) == 0:
        fitting = np.array([int(sizes.argmin())])
    chosen = fitting[choose_documents(sizes[fitting], max_bytes)].tolist()
    return replace(
        held_out,
        documents=[held_out.documents[place] for place in chosen],
        rows=[held_out.rows[place] for place in chosen],
    )


def read_documents(documents: Table, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return name -> `repo`, `revision`, `path`, `language`, `content` of the documents that are named and there."""
    wanted, found = set(names), dict[str, dict[str, Any]]()
    keys = ("repo", "revision", "path")
    for part in range(len(documents.parts)):
        rows = documents.read_part(part, keys).to_pylist()
        places = [place for place, row in enumerate(rows) if name_of(row) in wanted]
        if places:
            texts = documents.read_part(part, (*keys, "language", "content")).take(places)
            found.update((name_of(row), row) for row in texts.to_pylist())
    return found
