"""Near deduplication on the labelled pairs: which edited copies it finds, and which files it takes for copies that are not.

In: records, texts by digest, and a preset. Out: `NearDupScores`. Each pair is asked for twice. `is_edge`: whether the steps
of the pipeline, run over all texts of the set at once, put an edge between the two. `jaccard`: the exact similarity of the
two texts under the preset's own rule, computed here from its definition with plain sets. The first is the detector; the
second says what its threshold alone would give, so that a pair lost on the way to the comparison can be told from a pair
that is below the threshold. Pure but for a temporary folder.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

from stackwright.curate.near_dedup.license_comment import end_of_license_comment
from stackwright.curate.near_dedup.presets import Preset, ShingleRule
from stackwright.curate.near_dedup.steps import NearDedup, iter_edges, run_near_dedup
from stackwright.document import git_blob_id
from stackwright.engine import Engine
from stackwright.log import Progress
from stackwright.measure.records import PairRecord
from stackwright.measure.shares import Share, share_of
from stackwright.measure.texts import language_of_text

CHANGED_LIMITS = (0.1, 0.2, 0.3, 0.4, 0.6, 1.0)
"""Upper ends of the ranges of changed lines; each but the first leaves out its lower end."""

NUM_PARTITIONS = 16

Way = Literal["edge", "jaccard"]


@dataclass(frozen=True)
class PairFinding:
    """What was found of one pair. `jaccard` is None when the rule leaves one of the texts out for its few tokens."""

    record: PairRecord
    is_edge: bool
    jaccard: float | None
    reaches_threshold: bool

    @property
    def is_near(self) -> bool:
        return self.record.label == "near"

    def found(self, way: Way) -> bool:
        return self.is_edge if way == "edge" else self.reaches_threshold

    def to_json(self) -> dict[str, Any]:
        first, second = self.record.members
        return {
            "first": first.name,
            "second": second.name,
            "label": self.record.label,
            "kind": self.record.kind,
            "changed_lines": self.record.changed_lines,
            "is_edge": self.is_edge,
            "jaccard": self.jaccard,
            "note": self.record.note,
        }


@dataclass(frozen=True)
class NearDupScores:
    """Findings of the pairs of which both texts were there, of `num_records` in all, in the order of the records."""

    findings: tuple[PairFinding, ...]
    num_records: int
    preset: str
    threshold: float

    def precision(self, way: Way = "edge") -> Share:
        """Of the pairs that were found, how many are near."""
        return share_of(finding.is_near for finding in self.findings if finding.found(way))

    def recall(self, way: Way = "edge") -> Share:
        """Of the near pairs, how many were found."""
        return share_of(finding.found(way) for finding in self.findings if finding.is_near)

    @property
    def apart(self) -> Share:
        """Pairs on which the steps and the exact similarity do not agree."""
        return share_of(finding.is_edge != finding.reaches_threshold for finding in self.findings)

    def by_kind(self) -> dict[str, tuple[Share, Share]]:
        """Return, for each kind of pair, the found among the near pairs and among the different ones."""
        kinds = sorted({finding.record.kind for finding in self.findings})
        return {kind: _found([f for f in self.findings if f.record.kind == kind]) for kind in kinds}

    def by_changed_lines(self) -> dict[tuple[float, float], tuple[Share, Share]]:
        """Return the same for each range of changed lines."""
        ranges = list(zip((-1.0, *CHANGED_LIMITS), CHANGED_LIMITS))
        return {
            (max(low, 0.0), high): _found([f for f in self.findings if low < f.record.changed_lines <= high])
            for low, high in ranges
        }

    @property
    def wrong(self) -> list[PairFinding]:
        """Pairs that the steps got wrong: first what was taken for copies, the most alike first, then what was missed."""
        wrong = [finding for finding in self.findings if finding.is_edge != finding.is_near]
        return sorted(wrong, key=lambda finding: (finding.is_near, -(finding.jaccard or 0.0)))

    def to_json(self) -> dict[str, Any]:
        return {
            "preset": self.preset,
            "threshold": self.threshold,
            "num_records": self.num_records,
            "num_measured": len(self.findings),
            "precision": self.precision().to_json(),
            "recall": self.recall().to_json(),
            "exact_precision": self.precision("jaccard").to_json(),
            "exact_recall": self.recall("jaccard").to_json(),
            "disagree": self.apart.to_json(),
            "by_kind": [{"kind": kind, **_found_json(shares)} for kind, shares in self.by_kind().items()],
            "by_changed_lines": [
                {"above": low, "to": high, **_found_json(shares)} for (low, high), shares in self.by_changed_lines().items()
            ],
            "wrong": [finding.to_json() for finding in self.wrong],
        }


def _found(findings: Sequence[PairFinding]) -> tuple[Share, Share]:
    near = share_of(finding.is_edge for finding in findings if finding.is_near)
    return near, share_of(finding.is_edge for finding in findings if not finding.is_near)


def _found_json(shares: tuple[Share, Share]) -> dict[str, Any]:
    return {"near_found": shares[0].to_json(), "different_found": shares[1].to_json()}


def measure_near_dup(
    records: Iterable[PairRecord], texts: Mapping[str, str], preset: Preset, progress: Progress | None = None
) -> NearDupScores:
    """Run near deduplication over the texts of all pairs and keep what it says of each pair that has both texts."""
    records = tuple(records)
    there = [record for record in records if all(member.sha256 in texts for member in record.members)]
    paths = {member.sha256: member.path for record in there for member in record.members}
    edges = find_edges({digest: texts[digest] for digest in paths}, paths, preset, progress)
    findings = []
    for record in there:
        first, second = (texts[member.sha256] for member in record.members)
        jaccard = exact_jaccard(first, second, preset.shingles)
        pair = frozenset(member.sha256 for member in record.members)
        reaches = jaccard is not None and jaccard >= Fraction(str(preset.threshold))
        findings.append(PairFinding(record, pair in edges, None if jaccard is None else float(jaccard), reaches))
    return NearDupScores(tuple(findings), len(records), preset.name, preset.threshold)


def find_edges(
    texts: Mapping[str, str], paths: Mapping[str, str], preset: Preset, progress: Progress | None = None
) -> frozenset[frozenset[str]]:
    """Return the pairs of digests between which the steps of near deduplication put an edge that reaches the threshold."""
    engine = Engine() if progress is None else Engine(progress=progress)
    documents = partial(_documents, texts=texts, paths=paths)
    with tempfile.TemporaryDirectory(prefix="stackwright-measure-") as scratch:
        job = NearDedup(preset, 1, NUM_PARTITIONS, documents, Path(scratch))
        run_near_dedup(engine, job)
        edges = list(iter_edges(job, 0))
    near = [edge for edge in edges if edge["similarity"] >= preset.threshold]
    return frozenset(frozenset((edge["path"], edge["other_path"])) for edge in near)


def _documents(_: int, *, texts: Mapping[str, str], paths: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Yield the texts as documents that differ in nothing but text and language; a digest stands in place of the path."""
    same: dict[str, str | None] = {"repo": "labelled", "revision": "1", "license_type": "permissive"}
    same |= dict.fromkeys(("stars", "forks", "revision_date"))
    for digest in sorted(texts):
        text = texts[digest]
        language = language_of_text(paths[digest], text) or "unknown"
        yield {
            "path": digest,
            "content": text,
            "content_id": git_blob_id(text.encode("utf-8")),
            "language": language,
            **same,
        }


def exact_jaccard(first: str, second: str, rule: ShingleRule) -> Fraction | None:
    """Return the share of shingles that both texts have of those that either has; None when the rule leaves a text out."""
    shingles = _shingles(first, rule), _shingles(second, rule)
    if shingles[0] is None or shingles[1] is None:
        return None
    either = shingles[0] | shingles[1]
    return Fraction(len(shingles[0] & shingles[1]), len(either)) if either else None


def _shingles(text: str, rule: ShingleRule) -> frozenset[tuple[str, ...]] | None:
    if rule.skip_license_comment:
        text = text[end_of_license_comment(text) :]
    tokens = re.split(r"\W", text.lower() if rule.lower_case else text, flags=re.ASCII if rule.letters == "ascii" else 0)
    if rule.drop_empty:
        tokens = [token for token in tokens if token]
    if len(tokens) < rule.least_tokens:
        return None
    return frozenset(zip(*(tokens[offset:] for offset in range(rule.ngram))))
