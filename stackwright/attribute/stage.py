"""Index: fingerprints of the dataset, by which a span of text is traced to the files it occurs in.

In: the dataset. Out: `shard-NNNNN.postings` (which documents hold a fingerprint), `common.grams`, `index.json` and the table
`documents` (who a document's number is). Every window of `index.least_span` normalised bytes of every document is found
under its fingerprint, and positions are not kept: a reader verifies against the stored text.

Four steps on the engine's verbs. `fingerprint` writes a pair (hash, document) per k-gram, by the partition of its hash.
`common` finds the k-grams that more than `COMMON_DOCUMENTS` documents hold, licence headers above all. `windows` goes
through the texts again and fingerprints the windows of those k-grams by all their `least_span` characters; of each such
window `LISTED_DOCUMENTS` documents are kept. `pack` writes a shard per partition. So no fingerprint has a long list, and
a document that is listed for a common window holds it: otherwise every file with a licence header would be a candidate
for each text that has it too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stackwright.artifact import Staging, Table
from stackwright.attribute.bits import Int64s, Uint64s
from stackwright.attribute.fingerprint import Scheme, hash_character_spans, hash_spans, mix, window_runs
from stackwright.attribute.normalize import normalize
from stackwright.attribute.postings import (
    Widths,
    document_width,
    expand,
    make_pairs,
    shard_of,
    sorted_once,
    write_shard,
)
from stackwright.engine import Result, StageContext
from stackwright.files import write_bytes

VERSION = 2
"""Version of the files. A reader refuses others."""

INDEX_FILE = "index.json"
COMMON_FILE = "common.grams"

TABLES = {
    "documents": pa.schema(
        [
            pa.field("repo", pa.string(), nullable=False),
            pa.field("revision", pa.string(), nullable=False),
            pa.field("path", pa.string(), nullable=False),
            pa.field("content_id", pa.string(), nullable=False),
            pa.field("detected_licenses", pa.list_(pa.string())),
            pa.field("license_type", pa.string()),
            pa.field("split", pa.string()),
        ]
    )
}

COMMON_DOCUMENTS = 256
"""A k-gram in more documents than this is common. On 212 MB of installed Python code 285 of 7.5 million k-grams are, and
they make 5 % of the postings. A candidate costs a read, so this bounds the reads for one window."""

LISTED_DOCUMENTS = 32
"""Documents kept for a window of a common k-gram: enough to see that it is boilerplate."""

BATCH_BYTES = 1 << 20
READ_ROWS = 32


@dataclass(frozen=True)
class _Job:
    """What a worker needs; pickles."""

    documents: Table
    first_documents: tuple[int, ...]  # number of the first document of each part
    num_documents: int
    scheme: Scheme
    num_shards: int
    staging: Staging

    @property
    def document_bits(self) -> int:
        return document_width(self.num_documents)

    def pairs_file(self, kind: str, part: int) -> Path:
        return self.staging.scratch / kind / f"part-{part:05d}.pairs"

    @property
    def order_file(self) -> Path:
        return self.staging.scratch / "order.bin"

    def key(self, part: int) -> list[Any]:
        """Return what decides the fingerprints of a part."""
        return [self.documents.digests[part], asdict(self.scheme), self.document_bits, self.num_shards]


def run_index(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the counts of the manifest."""
    dataset, settings = context.inputs["dataset"], context.recipe.index
    documents = dataset.table("documents")
    rows = [pq.ParquetFile(part).metadata.num_rows for part in documents.parts]
    firsts = np.cumsum([0, *rows]).tolist()
    scheme = Scheme(settings.least_span, settings.gram_bytes)
    job = _Job(documents, tuple(firsts[:-1]), firsts[-1], scheme, settings.num_shards, context.staging)
    engine, scratch, parts = context.engine, context.staging.scratch, range(len(documents.parts))
    texts = engine.map_shards("fingerprint", partial(_fingerprint_part, job=job), parts, scratch)
    order = _listing_order(documents.read(["content_id"]).column(0).to_pylist())
    write_bytes(job.order_file, order.astype("<u8").tobytes())
    grams = engine.reduce_partitions("common", partial(_find_common, job=job, sent=texts), job.num_shards, scratch)
    common = np.concatenate([np.array(result["common"], np.uint64) for result in grams])
    write_bytes(context.staging.folder / COMMON_FILE, common.astype("<u8").tobytes())
    windows = engine.map_shards("windows", partial(_fingerprint_windows, job=job), parts, scratch)
    num_records = sum(result["pairs"] for result in [*grams, *windows])
    widths = Widths.choose(num_records, job.num_documents)
    pack = partial(_pack, job=job, sent=texts, windows_sent=windows, widths=widths)
    shards = engine.reduce_partitions("pack", pack, job.num_shards, scratch)
    index = {
        "version": VERSION,
        "dataset": dataset.digest,
        "least_span": scheme.least_span,
        "gram_bytes": scheme.gram_bytes,
        "boilerplate_repos": settings.boilerplate_repos,
        "listed_documents": LISTED_DOCUMENTS,
        "document_bits": widths.document_bits,
        "bucket_bits": widths.bucket_bits,
        "low_bits": widths.low_bits,
        "first_documents": firsts,
        "num_common": len(common),
        "shards": shards,
    }
    context.staging.write_json(INDEX_FILE, index)
    return {
        "documents": job.num_documents,
        "bytes": sum(result["bytes"] for result in texts),
        "normalized_bytes": sum(result["normalized_bytes"] for result in texts),
        "common_grams": len(common),
        "postings": sum(shard["num_records"] for shard in shards),
    }


@dataclass(frozen=True)
class _Batch:
    """Normalised texts one after another; text i is row `first` + i of its part and ends at `ends[i]`."""

    data: bytes
    ends: Int64s
    first: int
    original_bytes: int

    def rows_at(self, places: Int64s) -> Int64s:
        return self.first + np.searchsorted(self.ends, places, "right")


def _batches(part: int, job: _Job, chosen: Collection[int] | None = None) -> Iterator[_Batch]:
    """Read the texts of one part, about `BATCH_BYTES` at a time; those of rows that are not `chosen` are left empty."""
    first, row, texts, size, original = 0, 0, list[bytes](), 0, 0
    for rows in pq.ParquetFile(job.documents.parts[part]).iter_batches(READ_ROWS, columns=["content"]):
        for text in rows.column(0):
            wanted = text.as_py() if chosen is None or row in chosen else ""
            row += 1
            texts.append(normalize(wanted).encode("utf-8"))
            original += len(wanted.encode("utf-8"))
            size += len(texts[-1])
        if size >= BATCH_BYTES:
            yield _Batch(b"".join(texts), np.cumsum([len(text) for text in texts]), first, original)
            first, texts, size, original = first + len(texts), [], 0, 0
    if texts:
        yield _Batch(b"".join(texts), np.cumsum([len(text) for text in texts]), first, original)


def _fingerprint_part(part: int, *, job: _Job) -> Result:
    outputs = [job.pairs_file("grams", part), *job.staging.part_files("documents", part)]
    return job.staging.memo.once("fingerprint", job.key(part), outputs, partial(_fingerprint_texts, part, job))


def _fingerprint_texts(part: int, job: _Job) -> Result:
    """Write the k-grams of one part, and its part of the table."""
    job.staging.write_table_part("documents", part, job.documents.read_part(part, TABLES["documents"].names))
    pairs, original_bytes, normalized_bytes = [np.zeros(0, np.uint64)], 0, 0
    for batch in _batches(part, job):
        grams = window_runs(batch.data, batch.ends, job.scheme).gram
        hashes = hash_spans(batch.data, grams, job.scheme.gram_bytes)
        pairs.append(make_pairs(hashes, batch.rows_at(grams), job.document_bits))
        original_bytes += batch.original_bytes
        normalized_bytes += len(batch.data)
    bounds = _send(np.concatenate(pairs), "grams", part, job)
    return {"bytes": original_bytes, "normalized_bytes": normalized_bytes, "bounds": bounds}


def _send(pairs: Uint64s, kind: str, part: int, job: _Job) -> list[int]:
    """Write the pairs of one part, with rows for documents, and return where each partition begins."""
    pairs.sort()
    write_bytes(job.pairs_file(kind, part), pairs.astype("<u8").tobytes())
    borders: list[int] = np.searchsorted(shard_of(pairs, job.num_shards), np.arange(job.num_shards + 1)).tolist()
    return borders


def _read_pairs(kind: str, part: int, job: _Job, begin: int = 0, end: int | None = None) -> Uint64s:
    """Return pairs of one part, with numbers of documents in the place of rows."""
    count = -1 if end is None else end - begin
    pairs = np.fromfile(job.pairs_file(kind, part), "<u8", count=count, offset=begin * 8)
    # The number is the row plus that of the part's first document; it fits its bits, so nothing is carried into the hash.
    numbered: Uint64s = pairs + np.uint64(job.first_documents[part])
    return numbered


def _receive(kind: str, partition: int, sent: Sequence[Result], job: _Job) -> Uint64s:
    """Return the pairs that all parts sent to one partition, sorted, each once."""
    bounds = [result["bounds"][partition : partition + 2] for result in sent]
    return sorted_once(np.concatenate([_read_pairs(kind, part, job, *bound) for part, bound in enumerate(bounds)]))


def _group_borders(pairs: Uint64s, document_bits: int) -> Int64s:
    """Return where each hash begins in sorted pairs, and their number at the end."""
    hashes = pairs >> np.uint64(document_bits)
    return np.append(np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])[: len(pairs)]), len(pairs))


def _find_common(partition: int, *, job: _Job, sent: Sequence[Result]) -> Result:
    pairs = _receive("grams", partition, sent, job)
    borders = _group_borders(pairs, job.document_bits)
    counts = np.diff(borders)
    common = pairs[borders[:-1][counts > COMMON_DOCUMENTS]] >> np.uint64(job.document_bits)
    return {"common": common.tolist(), "pairs": int(counts[counts <= COMMON_DOCUMENTS].sum())}


def _load_common(job: _Job) -> Uint64s:
    return np.fromfile(job.staging.folder / COMMON_FILE, "<u8")


def among(hashes: Uint64s, common: Uint64s) -> Any:
    """Return which of `hashes` are in the sorted array `common`."""
    if not len(common):
        return np.zeros(len(hashes), bool)
    return common[np.minimum(np.searchsorted(common, hashes), len(common) - 1)] == hashes


def _fingerprint_windows(part: int, *, job: _Job) -> Result:
    """Write the windows of those common k-grams that a part holds, by the hash of all their bytes."""
    pairs = np.fromfile(job.pairs_file("grams", part), "<u8")
    pairs = pairs[among(pairs >> np.uint64(job.document_bits), _load_common(job))]
    common = np.unique(pairs >> np.uint64(job.document_bits))
    holders = frozenset((pairs & np.uint64((1 << job.document_bits) - 1)).tolist())
    key = [job.key(part), common.tolist()]
    outputs = [job.pairs_file("windows", part)]
    return job.staging.memo.once("windows", key, outputs, partial(_fingerprint_common, part, common, holders, job))


def _fingerprint_common(part: int, common: Uint64s, holders: frozenset[int], job: _Job) -> Result:
    pairs = [np.zeros(0, np.uint64)]
    for batch in _batches(part, job, holders) if len(common) else ():
        runs = window_runs(batch.data, batch.ends, job.scheme)
        grams = hash_spans(batch.data, runs.gram, job.scheme.gram_bytes) >> np.uint64(job.document_bits)
        chosen = among(grams, common)
        windows = expand(runs.first[chosen], runs.count[chosen])
        whole, hashes = hash_character_spans(batch.data, windows, job.scheme.least_span, batch.ends)
        pairs.append(make_pairs(hashes, batch.rows_at(windows[whole]), job.document_bits))
    first = job.first_documents[part]
    order = np.fromfile(job.order_file, "<u8")[first:]
    kept = _first_documents(sorted_once(np.concatenate(pairs)), job.document_bits, order)
    return {"pairs": len(kept), "bounds": _send(kept, "windows", part, job)}


def _listing_order(content_ids: Sequence[str]) -> Uint64s:
    """Return a number for each document that puts all into one random order; it depends on nothing but their bytes."""
    return mix(np.array([int(content_id[:16], 16) for content_id in content_ids], np.uint64))


def _first_documents(pairs: Uint64s, document_bits: int, order: Uint64s) -> Uint64s:
    """Return `LISTED_DOCUMENTS` pairs at most of each hash, those whose documents come first in one random order.

    The order is the same for every hash, so that neighbouring windows of one header list the same files, and a file that
    is among the first of all is among the first of its part.
    """
    borders = _group_borders(pairs, document_bits)
    counts = np.diff(borders)
    long = counts > LISTED_DOCUMENTS
    keep = np.ones(len(pairs), bool)
    places = expand(borders[:-1][long], counts[long])
    documents = (pairs[places] & np.uint64((1 << document_bits) - 1)).astype(np.int64)
    group = np.repeat(np.arange(len(counts[long])), counts[long])
    by_rank = np.lexsort((documents, order[documents], group))
    within = expand(np.zeros(len(counts[long]), np.int64), counts[long])
    keep[places[by_rank[within >= LISTED_DOCUMENTS]]] = False
    return pairs[keep]


def _pack(partition: int, *, job: _Job, sent: Sequence[Result], windows_sent: Sequence[Result], widths: Widths) -> Result:
    grams = _receive("grams", partition, sent, job)
    grams = grams[~among(grams >> np.uint64(job.document_bits), _load_common(job))]
    order = np.fromfile(job.order_file, "<u8")
    windows = _first_documents(_receive("windows", partition, windows_sent, job), job.document_bits, order)
    pairs = sorted_once(np.concatenate([grams, windows]))
    del grams, windows
    path = job.staging.folder / f"shard-{partition:05d}.postings"
    return write_shard(path, pairs, partition, job.num_shards, widths).to_json()
