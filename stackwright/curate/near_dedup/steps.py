"""Near deduplication on the engine's verbs: sign, rank, pair, compare, choose.

*Sign* (each shard) turns what earlier rules left into shingle sets, signatures and buckets. *Rank* puts all documents into
one order. *Pair* (each partition of buckets) finds the documents that meet. *Compare* (each range of ranks) computes the
exact Jaccard of each pair on the same shingles. *Choose* goes through the ranges in order and says what is dropped for
what. Nothing depends on shards, partitions or workers: a document is its rank, and ranks come from one total order.

What a step finds is kept in the memo of the stage: a shard's signatures as long as its documents are the same, and the
Jaccard of every pair that was compared (`known.py`), so that a run after a change compares only what has changed.

Memory: a step holds one shard's shingles, one partition's buckets, one range's pairs, or 16 bytes per document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackwright.curate.exact_dedup import NO_DATE, RANK_ORDER, rank_columns
from stackwright.curate.near_dedup.candidates import candidate_pairs, pack_pairs, unpack_pairs
from stackwright.curate.near_dedup.choose import Components, Edges, GreedyChoice
from stackwright.curate.near_dedup.known import pair_keys, recall_jaccards, remember_jaccards
from stackwright.curate.near_dedup.presets import Preset
from stackwright.curate.near_dedup.shingles import U64, Indices, jaccard, mix, shingle_texts
from stackwright.curate.near_dedup.signatures import band_buckets, minhash
from stackwright.curate.near_dedup.store import NAME_COLUMNS, Ranking, ShingleReader, Store
from stackwright.engine import WORKER_BYTES, Engine, Result
from stackwright.errors import EngineError
from stackwright.files import digest_of, write_json
from stackwright.memo import Memo

RULE = "near_dedup"
VERSION = 1

_BUCKET = np.dtype([("bucket", "<u8"), ("row", "<i8")])
_EDGE = np.dtype([("row", "<i8"), ("other_shard", "<i8"), ("other_row", "<i8"), ("jaccard", "<f8"), ("decisive", "?")])
_PAIR = np.dtype([("pair", "<u8"), ("jaccard", "<f8")])
_DIGESTS = "edges.json"
_HASH_COLUMNS = ["identity", "text_hash"]
_BYTES_PER_BUCKET = 100
"""Peak memory of *pair* for one row of a partition: the row, its sorted copies, the pairs it makes."""

Survivors = Callable[[int], Iterator[Mapping[str, Any]]]
"""Shard -> its documents that no earlier rule dropped, in order; a picklable function."""


@dataclass(frozen=True)
class NearDedup:
    """The job that every step gets; pickles."""

    preset: Preset
    num_shards: int
    num_partitions: int
    survivors: Survivors
    scratch: Path
    survivors_key: Callable[[int], str] | None = None  # a digest that changes with a shard's survivors; needed for a memo
    memo: Memo = field(default_factory=Memo)

    @property
    def store(self) -> Store:
        return Store(self.scratch / "near")

    def ranking(self) -> Ranking:
        store = self.store
        return Ranking(store.read_array("ranks", 0, "<i8"), store.read_array("offsets", 0, "<i8"))


def run_near_dedup(engine: Engine, job: NearDedup) -> dict[str, Any]:
    """Run every step and return the counts for the report. Afterwards `iter_edges` yields the edges of each shard."""
    signed = engine.map_shards("sign", partial(_sign_shard, job=job), range(job.num_shards), job.scratch)
    _check_partition_size(signed, job)
    engine.map_shards("rank", partial(_rank, job=job), [0], job.scratch)
    paired = engine.map_shards(
        "pair", partial(_pair_partition, job=job, signed=signed), range(job.num_partitions), job.scratch
    )
    compared = engine.map_shards(
        "compare", partial(_compare_range, job=job, paired=paired), range(job.num_partitions), job.scratch
    )
    (chosen,) = engine.map_shards("choose", partial(_choose, job=job), [0], job.scratch)
    return {
        "preset": job.preset.name,
        "threshold": job.preset.threshold,
        "documents": sum(result["documents"] for result in signed),
        "signed": sum(result["signed"] for result in signed),
        "too_short": sum(result["documents"] - result["signed"] for result in signed),
        "crowded_buckets": sum(result["crowded_buckets"] for result in paired),
        "candidates": sum(result["candidates"] for result in compared),
        "edges": sum(result["edges"] for result in compared),
        **chosen,
    }


def _check_partition_size(signed: Sequence[Result], job: NearDedup) -> None:
    """Refuse partitions that do not fit a worker, naming the number of partitions that does."""
    rows = sum(result["signed"] for result in signed) * job.preset.bands
    needed = rows * _BYTES_PER_BUCKET
    if needed > WORKER_BYTES * job.num_partitions:
        raise EngineError(
            f"{job.num_partitions} partitions of {rows // job.num_partitions} bucket rows do not fit the memory of a worker",
            f"set curate.num_partitions to {-(-needed // WORKER_BYTES)} or more",
        )


def _sign_shard(shard: int, *, job: NearDedup) -> Result:
    sign = partial(_sign_documents, shard, job)
    if job.survivors_key is None:
        return sign()
    key = [job.survivors_key(shard), asdict(job.preset), job.num_partitions]
    return job.memo.once("sign", key, job.store.signed_files(shard), sign)


def _sign_documents(shard: int, job: NearDedup) -> Result:
    keys, texts, languages = [], [], []
    for document in job.survivors(shard):
        keys.append(_key(document, job.preset))
        texts.append(document["content"])
        languages.append(document["language"])
    sets = shingle_texts(texts, job.preset.shingles)
    del texts
    job.store.write_keys(shard, keys)
    job.store.write_shingles(shard, sets)
    rows = np.flatnonzero(np.diff(sets.bounds))
    buckets = np.zeros((0, job.preset.bands), np.uint64)
    if len(rows):
        salts = _language_salts(languages)[rows] if job.preset.per_language else None
        buckets = band_buckets(minhash(sets, job.preset.num_permutations)[rows], job.preset, salts)
    return {
        "documents": len(keys),
        "signed": len(rows),
        "bounds": _send_buckets(shard, buckets, rows, job),
    }


def _key(document: Mapping[str, Any], preset: Preset) -> dict[str, Any]:
    row = {**rank_columns(document), "content_id": document["content_id"]}
    if preset.newest_first and row["revision_seconds"] != NO_DATE:
        row["revision_seconds"] = -row["revision_seconds"]
    names = "\0".join(row[name] for name in NAME_COLUMNS)
    return {**row, "identity": _hash64(names), "text_hash": _hash64(document["content"])}


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def _language_salts(languages: Sequence[str]) -> U64:
    salts = {name: int.from_bytes(name.encode("utf-8")[:64], "big") % 2**64 for name in set(languages)}
    return mix(np.array([salts[name] for name in languages], np.uint64))


def _send_buckets(shard: int, buckets: U64, rows: Indices, job: NearDedup) -> list[int]:
    """Write the shard's buckets, partition after partition, and return where each partition begins."""
    entries = np.empty(buckets.size, _BUCKET)
    entries["bucket"] = buckets.ravel()
    entries["row"] = np.repeat(rows, job.preset.bands)
    partitions = (entries["bucket"] % np.uint64(job.num_partitions)).astype(np.int64)
    order = np.argsort(partitions, kind="stable")
    job.store.write_array("buckets", shard, entries[order])
    bounds: list[int] = np.searchsorted(partitions[order], np.arange(job.num_partitions + 1)).tolist()
    return bounds


def _rank(_: int, *, job: NearDedup) -> Result:
    tables = [job.store.read_keys(shard, [*RANK_ORDER, *_HASH_COLUMNS]) for shard in range(job.num_shards)]
    keys = pa.concat_tables(tables)
    hashes = {name: np.asarray(keys.column(name)) for name in _HASH_COLUMNS}
    keys = keys.drop_columns(_HASH_COLUMNS)
    if not job.preset.ranked:
        keys = keys.select(["repo", "revision", "path"])
    order = np.asarray(pa.compute.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]))
    ranks = np.empty(len(order), "<i8")
    ranks[order.astype(np.int64)] = np.arange(len(order))
    offsets = np.cumsum([0, *(table.num_rows for table in tables)])[:-1].astype("<i8")
    job.store.write_array("ranks", 0, ranks)
    for name, values in hashes.items():
        job.store.write_array(name, 0, values[order].astype("<u8"))
    job.store.write_array("offsets", 0, offsets)
    return {"documents": len(ranks)}


def _pair_partition(partition: int, *, job: NearDedup, signed: Sequence[Result]) -> Result:
    ranking = job.ranking()
    buckets, ranks = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for shard, result in enumerate(signed):
        begin, end = result["bounds"][partition : partition + 2]
        entries = job.store.read_array("buckets", shard, _BUCKET, begin, end)
        buckets.append(entries["bucket"])
        ranks.append(ranking.rank_of(shard, entries["row"]))
    found = candidate_pairs(np.concatenate(buckets), np.concatenate(ranks))
    job.store.write_array("pairs", partition, found.pairs.astype("<u8"))
    # Ranges of ranks of about equal width; a pair goes where its worse document is decided.
    limits = _range_limits(len(ranking.ranks), job.num_partitions)
    bounds = np.searchsorted(found.pairs, pack_pairs(limits, np.zeros_like(limits)))
    return {"crowded_buckets": found.crowded_buckets, "bounds": bounds.tolist()}


def _range_limits(num_documents: int, num_ranges: int) -> Indices:
    return np.arange(num_ranges + 1, dtype=np.int64) * num_documents // num_ranges


def _compare_range(index: int, *, job: NearDedup, paired: Sequence[Result]) -> Result:
    slices = [
        job.store.read_array("pairs", partition, "<u8", *result["bounds"][index : index + 2])
        for partition, result in enumerate(paired)
    ]
    pairs = np.unique(np.concatenate(slices))
    edges = np.empty(len(pairs), _PAIR)
    edges["pair"], edges["jaccard"] = pairs, _known_or_compared(index, pairs, job)
    near = edges["jaccard"] >= job.preset.threshold
    # Published rules that do not verify need every candidate, whatever its Jaccard.
    job.store.write_array("edges", index, edges[near] if job.preset.verified else edges)
    return {"candidates": len(pairs), "edges": int(np.count_nonzero(near))}


def _known_or_compared(index: int, pairs: U64, job: NearDedup) -> npt.NDArray[np.float64]:
    """Return the Jaccard of each pair: from the last run where it compared the same two texts, else by comparing them."""
    texts = job.store.read_array("text_hash", 0, "<u8")
    worse, better = unpack_pairs(pairs)
    keys = pair_keys(texts[worse], texts[better])
    version = digest_of(asdict(job.preset))[:16]
    values = recall_jaccards(keys, job.memo.previous and job.memo.previous / "jaccards" / version)
    unknown = np.isnan(values)
    values[unknown] = _jaccards(pairs[unknown], job)
    if job.memo.current is not None:
        remember_jaccards(job.memo.current / "jaccards" / version, index, keys, values)
    return values


def _jaccards(pairs: U64, job: NearDedup) -> npt.NDArray[np.float64]:
    """Return the exact Jaccard of each pair. With a verified preset 0 stands for what its size alone puts below."""
    shards, rows = job.ranking().places()
    values = np.zeros(len(pairs), np.float64)
    least = job.preset.threshold if job.preset.verified else 0.0
    with ShingleReader(job.store, job.preset.shingles, partial(_texts, job=job)) as reader:
        for index, (worse, better) in enumerate(zip(*unpack_pairs(pairs), strict=True)):
            first, second = (int(shards[worse]), int(rows[worse])), (int(shards[better]), int(rows[better]))
            sizes = sorted((reader.size(*first), reader.size(*second)))
            if sizes[0] >= least * sizes[1]:  # J is at most smaller over larger
                values[index] = jaccard(reader.read(*first), reader.read(*second))
    return values


def _texts(shard: int, *, job: NearDedup) -> list[str]:
    return [document["content"] for document in job.survivors(shard)]


def _choose(_: int, *, job: NearDedup) -> Result:
    choose = _choose_greedily if job.preset.verified else _choose_roots
    ranking = job.ranking()
    shards, rows = ranking.places()
    components = Components(len(ranking.ranks))
    parts = list(choose(job, len(ranking.ranks), components))
    edges = Edges(*(np.concatenate([getattr(part, name) for part, _ in parts]) for name in ("worse", "better", "jaccard")))
    decisive = np.concatenate([flags for _, flags in parts])
    table = np.empty(len(edges), _EDGE)
    table["row"], table["jaccard"], table["decisive"] = rows[edges.worse], edges.jaccard, decisive
    table["other_shard"], table["other_row"] = shards[edges.better], rows[edges.better]
    identities = job.store.read_array("identity", 0, "<u8")
    digests = []
    for shard in range(job.num_shards):
        own = shards[edges.worse] == shard
        job.store.write_array("decided", shard, table[own])
        digests.append(_digest_of_edges(table[own], identities[edges.better[own]]))
    write_json(job.scratch / "near" / _DIGESTS, digests)
    sizes = np.bincount(components.roots(), minlength=1)
    return {
        "dropped": int(np.count_nonzero(decisive)),
        "components": int(np.count_nonzero(sizes > 1)),
        "largest_component": int(sizes.max(initial=0)),
    }


def _digest_of_edges(table: npt.NDArray[Any], others: U64) -> str:
    """Return a digest of what was decided in a shard that depends on documents and not on where they lie."""
    order = np.lexsort((others, table["row"]))
    digest = hashlib.sha256(others[order].tobytes())
    for name in ("row", "jaccard", "decisive"):
        digest.update(table[name][order].tobytes())
    return digest.hexdigest()


def edges_digest(job: NearDedup, shard: int) -> str:
    """Return a digest of what `iter_edges` yields for a shard."""
    digests: list[str] = json.loads((job.scratch / "near" / _DIGESTS).read_text("utf-8"))
    return digests[shard]


Decided = Iterator[tuple[Edges, npt.NDArray[np.bool_]]]


def _read_edges(job: NearDedup) -> Iterator[Edges]:
    for index in range(job.num_partitions):
        entries = job.store.read_array("edges", index, _PAIR)
        yield Edges(*unpack_pairs(entries["pair"]), entries["jaccard"])


def _choose_greedily(job: NearDedup, num_documents: int, components: Components) -> Decided:
    choice = GreedyChoice(num_documents)
    for edges in _read_edges(job):
        components.join(edges.worse.tolist(), edges.better.tolist())
        yield edges, choice.decide(edges)


def _choose_roots(job: NearDedup, num_documents: int, components: Components) -> Decided:
    """Drop all of a component but its root; then the edges that would have passed a check, for the record."""
    for edges in _read_edges(job):
        components.join(edges.worse.tolist(), edges.better.tolist())
    roots = components.roots()
    dropped = np.flatnonzero(roots != np.arange(num_documents))
    pairs = pack_pairs(dropped, roots[dropped])
    yield Edges(dropped, roots[dropped], _jaccards(pairs, job)), np.ones(len(dropped), np.bool_)
    for edges in _read_edges(job):
        others = (edges.jaccard >= job.preset.threshold) & ~np.isin(pack_pairs(edges.worse, edges.better), pairs)
        kept = Edges(edges.worse[others], edges.better[others], edges.jaccard[others])
        yield kept, np.zeros(len(kept), np.bool_)


def iter_edges(job: NearDedup, shard: int) -> Iterator[dict[str, Any]]:
    """Yield the edges of one shard's documents, as rows of the table `clusters`, in the order of (document, other)."""
    entries = np.sort(job.store.read_array("decided", shard, _EDGE), order=["row", "other_shard", "other_row"])
    own = _names(job.store, shard, entries["row"])
    # One shard's names at a time: only those that are wanted stay.
    others = {
        other: _names(job.store, other, entries["other_row"][entries["other_shard"] == other])
        for other in np.unique(entries["other_shard"]).tolist()
    }
    for row, other_shard, other_row, similarity, decisive in entries.tolist():
        kept = others[other_shard][other_row]
        yield {
            **own[row],
            **{f"other_{name}": kept[name] for name in NAME_COLUMNS},
            "kind": "near",
            "similarity": similarity,
            "decisive": decisive,
        }


def _names(store: Store, shard: int, rows: Indices) -> dict[int, dict[str, Any]]:
    """Return row -> names of the documents at these rows of a shard."""
    wanted = np.unique(rows)
    return dict(zip(wanted.tolist(), store.read_keys(shard, NAME_COLUMNS).take(wanted).to_pylist(), strict=True))
