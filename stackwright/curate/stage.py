"""Curate: from the corpus to the dataset, with a verdict and its evidence for every file.

Steps on the engine's verbs. `examine` applies licence and content rules to each shard, redacts what survives and sends
candidates to the deduplication; `dedup` reduces each partition of equal content; near deduplication has steps of its own
(`near_dedup/steps.py`) over what is left; `write` joins all and writes the shard's part of `documents`, `ledger` and
`clusters`. Of the rules that fire on a document (consent, licence, filters, exact and near copies, in this order) the first
decides; the others are kept as evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stackwright.artifact import Staging, Table, write_parquet
from stackwright.curate import exact_dedup
from stackwright.curate.filters import check_filters
from stackwright.curate.near_dedup import steps as near_dedup
from stackwright.curate.near_dedup.presets import PRESETS
from stackwright.curate.pii import redact, redact_excerpt
from stackwright.curate.redaction_key import load_redaction_key, redaction_key_name
from stackwright.curate.report import build_report
from stackwright.curate.split import split_of
from stackwright.document import CLUSTERS, DOCUMENTS, LEDGER, DocumentKey, Fired, document_name, key_of, text_digest
from stackwright.engine import Result, StageContext
from stackwright.errors import DataError
from stackwright.files import digest_of
from stackwright.govern.permission import CorpusEvidence, Permission, Rules
from stackwright.pages.dataset import dataset_page
from stackwright.recipe import CurateSettings

TABLES = {"documents": DOCUMENTS, "ledger": LEDGER, "clusters": CLUSTERS}

__all__ = ["TABLES", "redaction_key_name", "run_curate"]

# What `examine` leaves for `write`: the document, its text after redaction, and what fired so far.
_EXAMINED = pa.schema([*DOCUMENTS, LEDGER.field("fired"), pa.field("dropped", pa.bool_(), nullable=False)])


@dataclass(frozen=True)
class _Job:
    """What a worker needs; pickles."""

    corpus: Table
    evidence: CorpusEvidence
    rules: Rules
    settings: CurateSettings
    seed: int
    key: bytes
    key_name: str
    staging: Staging
    examined: tuple[str, ...] = ()  # digest of what decided each shard's examination

    def examined_path(self, shard: int) -> Path:
        return self.staging.scratch / "examined" / f"shard-{shard:05d}.parquet"

    def near_dedup(self) -> near_dedup.NearDedup | None:
        """Return the job of near deduplication; None when the recipe switches it off."""
        if self.settings.near_dedup == "off":
            return None
        return near_dedup.NearDedup(
            preset=PRESETS[self.settings.near_dedup],
            num_shards=len(self.corpus.parts),
            num_partitions=self.settings.num_partitions,
            survivors=partial(_survivors, job=self),
            scratch=self.staging.scratch,
            survivors_key=partial(_survivors_key, job=self),
            memo=self.staging.memo,
        )


def run_curate(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the counts of the manifest. Raises `DataError` when no document is left."""
    corpus = context.inputs["corpus"]
    settings = context.recipe.curate
    job = _Job(
        corpus=corpus.table("documents"),
        evidence=CorpusEvidence(corpus.table("notices"), corpus.table("repositories")),
        rules=Rules(settings.license_policy, settings.licenses, settings.consent),
        settings=settings,
        seed=context.recipe.seed,
        key=load_redaction_key() if settings.redact else b"",
        key_name=redaction_key_name(context.recipe),
        staging=context.staging,
    )
    shards, scratch, engine = range(len(job.corpus.parts)), context.staging.scratch, context.engine
    examined = engine.map_shards("examine", partial(_examine_shard, job=job), shards, scratch)
    job = replace(job, examined=tuple(result["key"] for result in examined))
    if settings.exact_dedup:
        reducer = partial(exact_dedup.reduce_partition, num_shards=len(shards), scratch=scratch)
        engine.reduce_partitions("dedup", reducer, settings.num_partitions, scratch)
    near = job.near_dedup()
    near_counts = None if near is None else near_dedup.run_near_dedup(engine, near)
    results = engine.map_shards("write", partial(_write_shard, job=job), shards, scratch)
    report = build_report(corpus.table("ledger"), results, near_counts, examined)
    if report["kept"]["files"] == 0:
        raise DataError(
            f"every one of the {report['seen']['files']} files was dropped ({_top_reasons(report)})",
            "widen curate.licenses, curate.license_policy or curate.filters in the recipe, or add sources",
        )
    context.staging.write_json("report.json", report)
    ledger, clusters = context.staging.table("ledger"), context.staging.table("clusters")
    page = dataset_page(
        context.recipe.name,
        corpus,
        report,
        ledger,
        clusters,
        redact_excerpt,
        documents=context.staging.table("documents"),
        settings=settings.model_dump(mode="json"),
    )
    context.staging.write_text("report.html", page)
    return {key: report[key] for key in ("seen", "kept", "dropped", "redactions", "splits")}


def _top_reasons(report: Mapping[str, Any]) -> str:
    reasons = sorted(report["reasons"].items(), key=lambda item: (-item[1]["files"], item[0]))
    return ", ".join(f"{name} {entry['files']}" for name, entry in reasons[:3])


def _examine_shard(shard: int, *, job: _Job) -> Result:
    key = _examine_key(shard, job)
    outputs = [job.examined_path(shard), exact_dedup.candidates_file(job.staging.scratch, shard)]
    result = job.staging.memo.once("examine", key, outputs, partial(_examine_documents, shard, job))
    return {**result, "key": key}


def _examine_key(shard: int, job: _Job) -> str:
    """Return a digest of all that decides what is found in a shard: its bytes, the licences that govern it, the rules."""
    repositories = job.corpus.read_part(shard, ["repo", "revision"]).group_by(["repo", "revision"]).aggregate([])
    names = sorted((row["repo"], row["revision"]) for row in repositories.to_pylist())
    settings = job.settings.model_dump(mode="json")
    evidence = [[*name, job.evidence.digest(name)] for name in names]
    return digest_of([job.corpus.digests[shard], evidence, settings, job.seed, job.key_name])


def _examine_documents(shard: int, job: _Job) -> Result:
    rows, admitted = [], Counter[str]()
    for document in job.corpus.read_part(shard).to_pylist():
        permission = job.evidence.of((document["repo"], document["revision"])).permission(document, job.rules)
        rows.append(_examine(document, permission, job))
        for policy in permission.admitted_by:
            admitted[f"{policy} files"] += 1
            admitted[f"{policy} bytes"] += document["size_bytes"]
    candidates = [exact_dedup.candidate(row) for row in rows if not row["dropped"]]
    write_parquet(job.examined_path(shard), pa.Table.from_pylist(rows, schema=_EXAMINED))
    exact_dedup.send_candidates(candidates, job.settings.num_partitions, job.staging.scratch, shard)
    return {"documents": len(rows), "admitted": dict(sorted(admitted.items()))}


def _examine(document: dict[str, Any], permission: Permission, job: _Job) -> dict[str, Any]:
    """Apply every rule that looks at one document alone; redact the text when none drops it."""
    verdict = permission.license
    fired = job.rules.fired(permission)
    fired += check_filters(document, job.settings.filters)
    dropped = bool(fired)
    content = document["content"]
    if not dropped and job.settings.redact:
        redaction = redact(content, job.settings.redact, job.key)
        content = redaction.text
        fired += redaction.fired
    return {
        **document,
        "detected_licenses": list(verdict.licenses),
        "license_type": verdict.license_type,
        "split": None if dropped else split_of(document["repo"], job.seed, job.settings.split),
        "content": "" if dropped else content,
        "text_id": None if dropped else text_digest(content),
        "fired": [asdict(entry) for entry in fired],
        "dropped": dropped,
    }


def _survivors(shard: int, *, job: _Job) -> Iterator[dict[str, Any]]:
    """Yield the documents of a shard that neither a rule nor an equal copy dropped, in order, a row group at a time."""
    copies = {key_of(edge) for edge in exact_dedup.read_edges(job.staging.scratch, shard)}
    with pq.ParquetFile(job.examined_path(shard)) as file:
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group).to_pylist():
                if not row["dropped"] and key_of(row) not in copies:
                    yield row


def _survivors_key(shard: int, *, job: _Job) -> str:
    """Return a digest that changes whenever `_survivors` does."""
    return digest_of([job.examined[shard], [key_of(edge) for edge in exact_dedup.read_edges(job.staging.scratch, shard)]])


def _write_shard(shard: int, *, job: _Job) -> Result:
    exact = exact_dedup.read_edges(job.staging.scratch, shard)
    near = job.near_dedup()
    key = [job.examined[shard], exact, None if near is None else near_dedup.edges_digest(near, shard)]
    outputs = [path for name in TABLES for path in job.staging.part_files(name, shard)]
    return job.staging.memo.once("write", key, outputs, partial(_write_tables, shard, job, exact))


def _write_tables(shard: int, job: _Job, exact_edges: Sequence[dict[str, Any]]) -> Result:
    exact, near = {key_of(edge): edge for edge in exact_edges}, _near_edges(shard, job)
    documents, ledger, funnel = [], [], _Funnel()
    for row in pq.read_table(job.examined_path(shard)).to_pylist():
        copies = [_copy_rule(edge, job) for edge in (exact.get(key_of(row)), near.decisive.get(key_of(row))) if edge]
        row["fired"] += [asdict(copy) for copy in copies]
        deciding = _deciding_rule(row, is_duplicate=bool(copies))
        entry = _ledger_row(row, deciding)
        ledger.append(entry)
        funnel.add(entry)
        if deciding is None:
            documents.append(row)
    job.staging.write_table_part("documents", shard, [_only(row, DOCUMENTS) for row in documents])
    job.staging.write_table_part("ledger", shard, ledger)
    edges = sorted([*exact.values(), *near.rows], key=lambda edge: (*key_of(edge), edge["other_repo"], edge["other_path"]))
    job.staging.write_table_part("clusters", shard, edges)
    return funnel.to_json()


@dataclass(frozen=True)
class _NearEdges:
    rows: Sequence[dict[str, Any]]
    decisive: Mapping[DocumentKey, dict[str, Any]]


def _near_edges(shard: int, job: _Job) -> _NearEdges:
    near = job.near_dedup()
    rows = [] if near is None else list(near_dedup.iter_edges(near, shard))
    return _NearEdges(rows, {key_of(edge): edge for edge in rows if edge["decisive"]})


def _copy_rule(edge: Mapping[str, Any], job: _Job) -> Fired:
    kept = document_name(edge["other_repo"], edge["other_revision"], edge["other_path"])
    if edge["kind"] == "exact":
        return Fired(exact_dedup.RULE, exact_dedup.VERSION, "exact_duplicate", kept=kept)
    limit = PRESETS[job.settings.near_dedup].threshold
    return Fired(near_dedup.RULE, near_dedup.VERSION, "near_duplicate", value=edge["similarity"], limit=limit, kept=kept)


def _deciding_rule(row: Mapping[str, Any], *, is_duplicate: bool) -> Mapping[str, Any] | None:
    """Return what decided a drop: the first rule that fired, which is the first in the order of the funnel."""
    fired: Sequence[Mapping[str, Any]] = row["fired"]
    if row["dropped"]:
        return fired[0]
    return fired[-1] if is_duplicate else None


def _ledger_row(row: Mapping[str, Any], deciding: Mapping[str, Any] | None) -> dict[str, Any]:
    names = ("repo", "revision", "path", "content_id", "source", "language", "size_bytes", "license_type", "fired")
    return {
        **{name: row[name] for name in names},
        "verdict": "keep" if deciding is None else "drop",
        "rule": deciding and deciding["rule"],
        "rule_version": deciding and deciding["version"],
        "reason": deciding and deciding["reason"],
        "split": row["split"] if deciding is None else None,
    }


def _only(row: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    return {name: row[name] for name in schema.names}


class _Funnel:
    """Counts of one shard, by language and outcome, small enough to cross a process border."""

    def __init__(self) -> None:
        self.files: Counter[tuple[str, str]] = Counter()
        self.bytes: Counter[tuple[str, str]] = Counter()
        self.redactions: Counter[str] = Counter()
        self.splits: Counter[tuple[str, str]] = Counter()
        self.licenses: Counter[str] = Counter()

    def add(self, entry: Mapping[str, Any]) -> None:
        outcome = entry["reason"] or "keep"
        self.files[entry["language"], outcome] += 1
        self.bytes[entry["language"], outcome] += entry["size_bytes"]
        self.licenses[entry["license_type"]] += 1
        if outcome == "keep":
            self.splits[entry["split"], "files"] += 1
            self.splits[entry["split"], "bytes"] += entry["size_bytes"]
            self.redactions.update(fired["reason"] for fired in entry["fired"])

    def to_json(self) -> Result:
        return {
            "outcomes": [[*key, self.files[key], self.bytes[key]] for key in sorted(self.files)],
            "redactions": dict(sorted(self.redactions.items())),
            "splits": [[*key, count] for key, count in sorted(self.splits.items())],
            "licenses": dict(sorted(self.licenses.items())),
        }
