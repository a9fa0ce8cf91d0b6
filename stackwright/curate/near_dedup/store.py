"""What the steps leave for one another: shingle sets and document keys of each shard, and the ranking of all documents.

Shingles are read one document at a time, with `pread` and not from a memory map, so that what other documents left in the
page cache never counts as memory of this process. All files are written whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stackwright.artifact import write_parquet
from stackwright.cache import RecentlyUsed
from stackwright.curate.exact_dedup import RANK_COLUMNS
from stackwright.curate.near_dedup.presets import ShingleRule
from stackwright.curate.near_dedup.shingles import U64, Indices, ShingleSets, shingle_texts
from stackwright.files import write_bytes

CACHE_BYTES = 32 * 1024 * 1024
"""Shingle sets kept at hand while pairs are compared."""

TEXT_CACHE_CHARACTERS = 64 * 1024 * 1024
"""Texts kept at hand of shards that were signed in an earlier run."""

KEYS = pa.schema(
    [
        *RANK_COLUMNS,
        pa.field("content_id", pa.string(), nullable=False),
        pa.field("identity", pa.uint64(), nullable=False),  # hash of the names
        pa.field("text_hash", pa.uint64(), nullable=False),
    ]
)
"""What a document is ranked by and named with; row i belongs to the i-th survivor of the shard."""

NAME_COLUMNS = ["repo", "revision", "path", "content_id"]


@dataclass(frozen=True)
class Store:
    """The scratch files of near deduplication, by shard."""

    folder: Path

    def _path(self, kind: str, shard: int, ending: str) -> Path:
        return self.folder / kind / f"shard-{shard:05d}.{ending}"

    def signed_files(self, shard: int) -> tuple[Path, Path]:
        """Return the files of keys and of buckets of a shard."""
        return self._path("keys", shard, "parquet"), self._path("buckets", shard, "bin")

    def write_keys(self, shard: int, rows: Sequence[Mapping[str, Any]]) -> None:
        write_parquet(self._path("keys", shard, "parquet"), pa.Table.from_pylist([dict(row) for row in rows], schema=KEYS))

    def read_keys(self, shard: int, columns: Sequence[str]) -> pa.Table:
        return pq.read_table(self._path("keys", shard, "parquet"), columns=list(columns))

    def write_shingles(self, shard: int, sets: ShingleSets) -> None:
        write_bytes(self._path("shingles", shard, "hashes"), sets.hashes.astype("<u8").tobytes())
        write_bytes(self._path("shingles", shard, "bounds"), sets.bounds.astype("<i8").tobytes())

    def shingle_files(self, shard: int) -> tuple[Path, Path]:
        """Return the files of the hashes and of the bounds of a shard."""
        return self._path("shingles", shard, "hashes"), self._path("shingles", shard, "bounds")

    def write_array(self, kind: str, index: int, array: np.ndarray[Any, Any]) -> None:
        write_bytes(self._path(kind, index, "bin"), array.tobytes())

    def read_array(self, kind: str, index: int, dtype: Any, begin: int = 0, end: int | None = None) -> Any:
        """Return elements [begin, end) of an array written before."""
        size = np.dtype(dtype).itemsize
        count = -1 if end is None else end - begin
        return np.fromfile(self._path(kind, index, "bin"), dtype=dtype, count=count, offset=begin * size)


@dataclass(frozen=True)
class Ranking:
    """The total order of all documents, and where each of them lies."""

    ranks: Indices  # document number (survivors of all shards, one after another) -> rank
    offsets: Indices  # shard -> number of its first document

    def rank_of(self, shard: int, rows: Indices) -> Indices:
        ranks: Indices = self.ranks[self.offsets[shard] + rows]
        return ranks

    def places(self) -> tuple[Indices, Indices]:
        """Return shard and row of the document of each rank."""
        documents = np.empty(len(self.ranks), np.int64)
        documents[self.ranks] = np.arange(len(self.ranks))
        shards = np.searchsorted(self.offsets, documents, side="right") - 1
        return shards, documents - self.offsets[shards]


class ShingleReader:
    """Reads the shingle set of a document by (shard, row), with a cache of the latest ones.

    A shard that was signed in an earlier run has no file of shingles: its documents' are made from the texts that are asked
    for.

    Args:
        texts: shard -> texts of its documents, in order.
    """

    def __init__(self, store: Store, rule: ShingleRule, texts: Callable[[int], list[str]]) -> None:
        self._store, self._rule = store, rule
        self._files: dict[int, tuple[int, Indices] | None] = {}
        self._sets = RecentlyUsed(self._read, lambda hashes: int(hashes.nbytes), CACHE_BYTES)
        self._texts = RecentlyUsed(texts, lambda shard: sum(map(len, shard)), TEXT_CACHE_CHARACTERS)

    def read(self, shard: int, row: int) -> U64:
        return self._sets.get((shard, row))

    def _read(self, place: tuple[int, int]) -> U64:
        shard, row = place
        file = self._open(shard)
        if file is None:
            return shingle_texts([self._texts.get(shard)[row]], self._rule).hashes
        descriptor, bounds = file
        begin, end = int(bounds[row]) * 8, int(bounds[row + 1]) * 8
        hashes: U64 = np.frombuffer(os.pread(descriptor, end - begin, begin), "<u8")
        return hashes

    def size(self, shard: int, row: int) -> int:
        """Return the number of shingles, where it can be without reading them."""
        file = self._open(shard)
        return len(self.read(shard, row)) if file is None else int(file[1][row + 1] - file[1][row])

    def _open(self, shard: int) -> tuple[int, Indices] | None:
        if shard not in self._files:
            hashes, bounds = self._store.shingle_files(shard)
            there = bounds.is_file()  # written last
            self._files[shard] = (os.open(hashes, os.O_RDONLY), np.fromfile(bounds, "<i8")) if there else None
        return self._files[shard]

    def close(self) -> None:
        for file in self._files.values():
            if file is not None:
                os.close(file[0])
        self._files.clear()

    def __enter__(self) -> ShingleReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
