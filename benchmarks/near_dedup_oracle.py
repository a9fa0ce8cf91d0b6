"""Every pair of files whose Jaccard similarity reaches a threshold: the yardstick for detectors of near-duplicates.

In: a folder of files, or a Parquet file with the columns `name` and `text`, and with --skip-header `start`, the character
at which a file's shingles begin. Out: a table (`name_a`, `name_b`, `jaccard`) in the order of the names, as Parquet or, when
the output ends in .json, as JSON. No pair is missed and none is estimated: shingles are compared as numbers given out one by
one, not as hashes, and thresholds as fractions.

A token is a run of letters, digits and underscores of any script, case kept; a shingle is five tokens in a row. Files with
fewer than ten tokens are left out. Of files with the same text (and start) only the first by name takes part.

Which pairs to look at: sort each set by how rare its shingles are. A pair with Jaccard >= t shares one of the first
|A| - ceil(t |A|) + 1 shingles of both (Chaudhuri et al. 2006, Bayardo et al. 2007), and |B| >= t |A| for the smaller B. Each
pair that is left is counted out.

Example: python benchmarks/near_dedup_oracle.py sample.parquet --threshold 0.7 --out pairs.parquet
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stackwright.artifact import write_parquet
from stackwright.files import write_json

SHINGLE_TOKENS = 5
LEAST_TOKENS = 10
TOKEN = re.compile(r"\w+")

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class File:
    """A file to compare: its shingles begin at character `start` of `text`."""

    name: str
    text: str
    start: int = 0


@dataclass(frozen=True)
class Pair:
    """Two files, by name in order, with the share of their shingles that both have."""

    name_a: str
    name_b: str
    jaccard: float


def compared_files(files: Sequence[File]) -> list[File]:
    """Return the files that take part: the first by name of each text, if it has enough tokens."""
    first: dict[tuple[str, int], File] = {}
    for file in sorted(files, key=lambda file: file.name):
        first.setdefault((file.text, file.start), file)
    return [file for file in first.values() if len(TOKEN.findall(file.text, file.start)) >= LEAST_TOKENS]


def shingle_sets(files: Sequence[File]) -> list[Ids]:
    """Return each file's set of shingles as numbers, the same number for the same five tokens, without repeats.

    Tokens are numbered as they come. A run of n + 1 tokens is the pair (number of its first n, last token), and the
    different pairs are numbered in turn, so that equal numbers mean equal tokens.
    """
    numbers: dict[str, int] = {}
    rows = [[numbers.setdefault(token, len(numbers)) for token in TOKEN.findall(file.text, file.start)] for file in files]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    tokens = np.fromiter((number for row in rows for number in row), dtype=np.int64, count=int(lengths.sum()))
    grams = tokens
    for width in range(1, SHINGLE_TOKENS):
        # Runs that go over the end of a file are numbered too and left out below.
        grams = np.unique(grams[:-1] << 32 | tokens[width:], return_inverse=True)[1]
    ends = np.cumsum(lengths)
    return [
        np.unique(grams[end - length : end - SHINGLE_TOKENS + 1]) if length >= SHINGLE_TOKENS else grams[:0]
        for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
    ]


def rarest_first(sets: Sequence[Ids]) -> list[Ids]:
    """Renumber shingles by the number of files that have them, and sort each set by that number."""
    if not sets:
        return []
    _, inverse, counts = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    order = np.empty(len(counts), dtype=np.int64)
    order[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    parts = np.split(order[inverse], np.cumsum([len(shingles) for shingles in sets])[:-1])
    return [np.sort(part) for part in parts]


def similar_sets(sets: Sequence[Ids], threshold: float) -> Iterator[tuple[int, int, float]]:
    """Yield (i, j, Jaccard) with i < j for every two sets whose Jaccard similarity is at least `threshold`, above 0."""
    exact = Fraction(str(threshold))
    p, q = exact.numerator, exact.denominator
    ranked = rarest_first(sets)
    has = np.zeros(1 + max((int(shingles[-1]) for shingles in ranked if len(shingles)), default=0), dtype=np.bool_)
    index: dict[int, list[int]] = {}
    for i in sorted(range(len(ranked)), key=lambda i: len(ranked[i])):  # so each candidate is not the larger one
        shingles = ranked[i]
        least_shared = -(-len(shingles) * p // q)
        candidates: set[int] = set()
        for shingle in shingles[: len(shingles) - least_shared + 1].tolist():
            holders = index.setdefault(shingle, [])
            candidates.update(holders)
            holders.append(i)
        has[shingles] = True
        for j in candidates:
            if len(ranked[j]) >= least_shared:
                shared = int(np.count_nonzero(has[ranked[j]]))
                union = len(shingles) + len(ranked[j]) - shared
                if shared * q >= p * union:
                    yield min(i, j), max(i, j), shared / union
        has[shingles] = False


def find_pairs(files: Sequence[File], threshold: float) -> list[Pair]:
    """Return every pair of compared files with at least this Jaccard similarity, in the order of the names."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold} is not above 0 and at most 1")
    compared = compared_files(files)
    found = similar_sets(shingle_sets(compared), threshold)
    pairs = [Pair(compared[i].name, compared[j].name, jaccard) for i, j, jaccard in found]
    return sorted(pairs, key=lambda pair: (pair.name_a, pair.name_b))


def load_files(source: Path, skip_header: bool = False) -> list[File]:
    """Read a folder of files, or a Parquet file. Of a folder, files that are not UTF-8 are left out."""
    if source.is_dir():
        if skip_header:
            raise SystemExit("--skip-header needs the column `start`, and a folder has none: give a Parquet file")
        files = []
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            try:
                files.append(File(path.relative_to(source).as_posix(), path.read_bytes().decode("utf-8")))
            except UnicodeDecodeError:
                continue
        return files
    columns = ["name", "text", *(["start"] if skip_header else [])]
    there = pq.read_schema(source).names
    if missing := [name for name in columns if name not in there]:
        raise SystemExit(f"{source} has no column {missing[0]!r}; it has {', '.join(there)}")
    return [File(**row) for row in pq.read_table(source, columns=columns).to_pylist()]


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    rows = [{"name_a": pair.name_a, "name_b": pair.name_b, "jaccard": pair.jaccard} for pair in pairs]
    if path.suffix == ".json":
        write_json(path, rows)
    else:
        schema = pa.schema([("name_a", pa.string()), ("name_b", pa.string()), ("jaccard", pa.float64())])
        write_parquet(path, pa.Table.from_pylist(rows, schema=schema))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder, or Parquet file with the columns name and text")
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--skip-header", action="store_true", help="begin at the character in the column `start`")
    parser.add_argument("--out", type=Path, required=True, help="pairs as .parquet or .json")
    options = parser.parse_args()
    began = time.perf_counter()
    files = load_files(options.source, options.skip_header)
    pairs = find_pairs(files, options.threshold)
    write_pairs(options.out, pairs)
    paired = {name for pair in pairs for name in (pair.name_a, pair.name_b)}
    print(
        f"{len(files):,} files, {len(compared_files(files)):,} compared; {len(pairs):,} pairs of {len(paired):,} files"
        f" at Jaccard >= {options.threshold}; {time.perf_counter() - began:.1f} s",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
