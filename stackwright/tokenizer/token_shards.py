"""Token shards: the dataset as ids, with the borders of documents.

For each part of the dataset one `part-NNNNN.tokens` (little-endian uint16, or uint32 when the vocabulary needs it: the ids
of each document followed by the end-of-text sentinel), one `part-NNNNN.bounds` (int64: where each document ends, its
sentinel included) and a sidecar that names the tokenizer and the width. Row i of a part of the table `documents` is the i-th
document of its part of the tokens. A reader refuses files that do not fit each other or the tokenizer it was given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackwright.artifact import Artifact, Staging, Table
from stackwright.engine import Result, StageContext
from stackwright.errors import TokenizerError
from stackwright.files import write_bytes, write_json
from stackwright.tokenizer.codec import Tokenizer

TOKEN_DOCUMENTS = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_id", pa.string(), nullable=False),
        pa.field("text_id", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("num_bytes", pa.int64(), nullable=False),  # of the text in UTF-8
        pa.field("num_tokens", pa.int64(), nullable=False),  # end-of-text included
    ]
)
TABLES = {"documents": TOKEN_DOCUMENTS}

ENCODE_BATCH = 32
"""Documents encoded at a time: the library's own records of a token are fifty times its two bytes."""


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the narrowest little-endian type that holds every id."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


def run_tokens(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the counts of the manifest."""
    documents = context.inputs["dataset"].table("documents")
    worker = partial(_write_part, documents=documents, tokenizer=context.inputs["tokenizer"], staging=context.staging)
    results = context.engine.map_shards("encode", worker, range(len(documents.parts)), context.staging.scratch)
    splits: dict[str, int] = {}
    for result in results:
        for split, count in result["splits"].items():
            splits[split] = splits.get(split, 0) + count
    return {
        "documents": sum(result["documents"] for result in results),
        "tokens": sum(result["tokens"] for result in results),
        "bytes": sum(result["bytes"] for result in results),
        "tokens_by_split": dict(sorted(splits.items())),
    }


def _write_part(part: int, *, documents: Table, tokenizer: Artifact, staging: Staging) -> Result:
    names = [staging.folder / f"part-{part:05d}.{ending}" for ending in ("tokens", "bounds", "json")]
    outputs = [*names, *staging.part_files("documents", part)]
    key = [documents.digests[part], tokenizer.digest]
    return staging.memo.once("encode", key, outputs, partial(_encode_part, part, documents, tokenizer.folder, staging))


def _encode_part(part: int, documents: Table, tokenizer_folder: Path, staging: Staging) -> Result:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one worker, one core: the pool holds the others
    tokenizer = Tokenizer.load(tokenizer_folder)
    dtype = token_dtype(tokenizer.vocab_size)
    columns = ["repo", "revision", "path", "content_id", "text_id", "language", "split", "content"]
    rows, encoded = [], []
    for batch in documents.read_part(part, columns).to_batches(max_chunksize=ENCODE_BATCH):
        values = batch.to_pylist()
        texts = [row.pop("content") for row in values]
        for row, text, ids in zip(values, texts, tokenizer.encode_batch(texts), strict=True):
            encoded.append(np.array([*ids, tokenizer.eot], dtype=dtype))
            rows.append({**row, "num_bytes": len(text.encode("utf-8")), "num_tokens": len(ids) + 1})
    bounds = np.cumsum([len(ids) for ids in encoded], dtype="<i8") if encoded else np.zeros(0, "<i8")
    tokens = np.concatenate(encoded) if encoded else np.zeros(0, dtype)
    write_bytes(staging.folder / f"part-{part:05d}.tokens", tokens.tobytes())
    write_bytes(staging.folder / f"part-{part:05d}.bounds", bounds.tobytes())
    sidecar = {
        "tokenizer_sha256": tokenizer.sha256,
        "vocab_size": tokenizer.vocab_size,
        "dtype": dtype.str,
        "num_tokens": len(tokens),
        "num_documents": len(rows),
    }
    write_json(staging.folder / f"part-{part:05d}.json", sidecar)
    staging.write_table_part("documents", part, rows)
    splits: dict[str, int] = {}
    for row in rows:
        splits[row["split"]] = splits.get(row["split"], 0) + row["num_tokens"]
    return {"documents": len(rows), "tokens": len(tokens), "bytes": sum(row["num_bytes"] for row in rows), "splits": splits}


@dataclass(frozen=True)
class TokenPart:
    """One part, mapped into memory. `tokens[bounds[i-1]:bounds[i]]` is document i with its end-of-text."""

    tokens: npt.NDArray[Any]
    bounds: npt.NDArray[np.int64]

    @property
    def firsts(self) -> npt.NDArray[np.int64]:
        """Where each document begins."""
        return np.concatenate([np.zeros(1, np.int64), self.bounds])[:-1]


def load_token_parts(folder: Path, tokenizer_sha256: str) -> list[TokenPart]:
    """Map every part of a tokens folder.

    Raises:
        TokenizerError: a part was made with another tokenizer or width, is truncated, or its borders do not fit.
    """
    sidecars = sorted(folder.glob("part-*.json"))
    if not sidecars:
        raise TokenizerError(f"{folder} holds no token shards", "run `stackwright build` with --from tokens")
    return [_load_part(path, tokenizer_sha256) for path in sidecars]


def _load_part(sidecar: Path, tokenizer_sha256: str) -> TokenPart:
    remake = "run `stackwright build` again with --from tokens"
    facts: Mapping[str, Any] = json.loads(sidecar.read_text("utf-8"))
    path = sidecar.with_suffix(".tokens")
    if facts["tokenizer_sha256"] != tokenizer_sha256:
        made, given = facts["tokenizer_sha256"][:12], tokenizer_sha256[:12]
        raise TokenizerError(f"{path} was made with tokenizer {made}, not with {given}", remake)
    dtype = token_dtype(facts["vocab_size"])
    if facts["dtype"] != dtype.str:
        raise TokenizerError(f"{path} says width {facts['dtype']}, its vocabulary needs {dtype.str}", remake)
    expected = facts["num_tokens"] * dtype.itemsize
    if path.stat().st_size != expected:
        raise TokenizerError(f"{path} has {path.stat().st_size} bytes where its sidecar says {expected}", remake)
    bounds = np.fromfile(sidecar.with_suffix(".bounds"), dtype="<i8").astype(np.int64)
    ends_well = len(bounds) == facts["num_documents"] and (len(bounds) == 0 or bounds[-1] == facts["num_tokens"])
    if not ends_well or np.any(np.diff(bounds, prepend=0) < 1):
        raise TokenizerError(f"{sidecar.with_suffix('.bounds')} does not fit {path.name}", remake)
    tokens = np.memmap(path, dtype=dtype, mode="r") if expected else np.zeros(0, dtype)
    return TokenPart(tokens, bounds)
