"""Stored texts by document number, normalised, within bounded memory.

In: the dataset and the number of the first document of each part. Out: `NormalizedText`s and rows of the index's table.
What was read lately is kept up to `CACHE_BYTES`; a row group is the least that can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stackwright.artifact import Table
from stackwright.attribute.normalize import NormalizedText
from stackwright.cache import RecentlyUsed

CACHE_BYTES = 128 * 1024 * 1024
"""For each of two caches: texts as they are stored, and texts normalised."""

CACHED_ROWS = 50_000

READ_ROWS = 32
"""Texts decoded at a time when all are read."""


class _Part:
    """One Parquet file, opened once; rows are found by their row group."""

    def __init__(self, path: Path) -> None:
        self.file = pq.ParquetFile(path, memory_map=True)
        metadata = self.file.metadata
        self.ends = np.cumsum([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)])

    def locate(self, row: int) -> tuple[int, int]:
        """Return the row group of a row, and its place in it."""
        group = int(np.searchsorted(self.ends, row, "right"))
        return group, row - (int(self.ends[group - 1]) if group else 0)


class StoredRows:
    """Rows of a table by their number, some columns only."""

    def __init__(self, table: Table, first_rows: Sequence[int], columns: Sequence[str], limit: int) -> None:
        self._firsts = np.array(first_rows)
        self._part = cache(lambda part: _Part(table.parts[part]))
        self._columns = list(columns)
        self._groups = RecentlyUsed(self._read, lambda group: int(group.nbytes), limit)

    def _read(self, key: tuple[int, int]) -> pa.Table:
        part, group = key
        return self._part(part).file.read_row_group(group, columns=self._columns, use_threads=False)

    def row(self, number: int) -> dict[str, Any]:
        part = int(np.searchsorted(self._firsts, number, "right")) - 1
        group, place = self._part(part).locate(number - int(self._firsts[part]))
        rows = self._groups.get((part, group))
        return {name: rows.column(name)[place].as_py() for name in self._columns}


def read_texts(documents: Table) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the texts of a dataset in UTF-8, in the order of their numbers."""
    for part in documents.parts:
        for rows in pq.ParquetFile(part).iter_batches(READ_ROWS, columns=["content"]):
            yield from (np.frombuffer(text.as_buffer(), np.uint8) for text in rows.column(0))


class StoredTexts:
    """Normalised texts of the dataset by document number."""

    def __init__(self, documents: Table, first_documents: Sequence[int]) -> None:
        self._rows = StoredRows(documents, first_documents, ["content"], CACHE_BYTES)
        # A text, its normalised form and the maps that are made on demand: about four bytes and more per byte of text.
        self._texts = RecentlyUsed(self._normalized, lambda text: 4 * len(text.data) + 512, CACHE_BYTES)

    def _normalized(self, number: int) -> NormalizedText:
        return NormalizedText(self._rows.row(number)["content"])

    def get(self, number: int) -> NormalizedText:
        return self._texts.get(number)
