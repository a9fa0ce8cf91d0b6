"""The licence detector on the labelled texts: which expressions and classes it gets right.

In: records and texts by digest. Out: `LicenseScores`, which keeps a finding for every record whose text is there and counts
everything from those. Licence files are read by `recognize`, source files by `header_evidence`, as when a repository is
judged; what either says nothing about is `NONE` of class `none`. Pure: the same texts give the same scores.

What must hold is the precision of `permissive`: a text called permissive that is not would bring code into a dataset that
may not be there. A permissive text that is missed only costs some data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stackwright.govern.licenses.headers import header_evidence
from stackwright.govern.licenses.recognize import recognize
from stackwright.log import Progress, SilentProgress
from stackwright.measure.expressions import NONE, licenses_in, normal_form
from stackwright.measure.records import LicenseRecord, TextKind
from stackwright.measure.shares import Share, share_of
from stackwright.measure.texts import language_of_text

PERMISSIVE = "permissive"


@dataclass(frozen=True)
class LicenseFinding:
    """What the detector said of one record, and `why` in its own words."""

    record: LicenseRecord
    expression: str
    license_class: str
    why: str

    @cached_property
    def is_right(self) -> bool:
        """Whether the expression says what the label says; in a licence file without regard to later versions."""
        return self._normal(self.record.spdx) == self._normal(self.expression)

    @cached_property
    def names_the_same(self) -> bool:
        """Whether the same licences are named, however they are joined."""
        any_version = self.record.kind == "license_file"
        return licenses_in(self.record.spdx, any_version=any_version) == licenses_in(
            self.expression, any_version=any_version
        )

    @property
    def is_right_class(self) -> bool:
        return self.license_class == self.record.license_class

    @property
    def is_falsely_permissive(self) -> bool:
        return self.license_class == PERMISSIVE != self.record.license_class

    def _normal(self, expression: str) -> str:
        return normal_form(expression, any_version=self.record.kind == "license_file")

    def to_json(self) -> dict[str, Any]:
        member = self.record.member
        return {
            "package": member.archive.package,
            "version": member.archive.version,
            "path": member.path,
            "kind": self.record.kind,
            "label": self.record.spdx,
            "label_class": self.record.license_class,
            "found": self.expression,
            "found_class": self.license_class,
            "why": self.why,
            "note": self.record.note,
        }


@dataclass(frozen=True)
class LicenseScores:
    """Findings of the records whose text was there, of `num_records` in all, in the order of the records."""

    findings: tuple[LicenseFinding, ...]
    num_records: int

    def right(self, kind: TextKind | None = None) -> Share:
        """Share of the texts whose expression is right, of one kind or of all."""
        return share_of(finding.is_right for finding in self._of(kind))

    def names_the_same(self, kind: TextKind | None = None) -> Share:
        """Share of the texts of which the same licences are named, however they are joined."""
        return share_of(finding.names_the_same for finding in self._of(kind))

    def right_class(self, kind: TextKind | None = None) -> Share:
        """Share of the texts whose class is right."""
        return share_of(finding.is_right_class for finding in self._of(kind))

    def permissive_precision(self, kind: TextKind | None = None) -> Share:
        """Of the texts called permissive, how many are."""
        called = [finding for finding in self._of(kind) if finding.license_class == PERMISSIVE]
        return share_of(finding.record.license_class == PERMISSIVE for finding in called)

    def permissive_recall(self, kind: TextKind | None = None) -> Share:
        """Of the permissive texts, how many are called so."""
        labelled = [finding for finding in self._of(kind) if finding.record.license_class == PERMISSIVE]
        return share_of(finding.license_class == PERMISSIVE for finding in labelled)

    @property
    def confusion(self) -> Counter[tuple[str, str]]:
        """Number of texts by (labelled class, found class)."""
        return Counter((finding.record.license_class, finding.license_class) for finding in self.findings)

    @property
    def wrong(self) -> list[LicenseFinding]:
        """Findings with a wrong expression or class: first what is falsely permissive, then wrong classes, then the rest."""
        wrong = [finding for finding in self.findings if not (finding.is_right and finding.is_right_class)]
        return sorted(wrong, key=lambda finding: (not finding.is_falsely_permissive, finding.is_right_class))

    def _of(self, kind: TextKind | None) -> Sequence[LicenseFinding]:
        return [finding for finding in self.findings if kind in (None, finding.record.kind)]

    def to_json(self) -> dict[str, Any]:
        scores: dict[str, Callable[[TextKind | None], Share]] = {
            "permissive_precision": self.permissive_precision,
            "permissive_recall": self.permissive_recall,
            "right_class": self.right_class,
            "right": self.right,
            "names_the_same": self.names_the_same,
        }
        kinds: dict[str, TextKind | None] = {"all": None, "license_file": "license_file", "header": "header"}
        return {
            "num_records": self.num_records,
            "num_measured": len(self.findings),
            "scores": {
                name: {measure: score(kind).to_json() for measure, score in scores.items()} for name, kind in kinds.items()
            },
            "confusion": [
                {"label": label, "found": found, "texts": texts} for (label, found), texts in sorted(self.confusion.items())
            ],
            "wrong": [finding.to_json() for finding in self.wrong],
        }


def measure_licenses(
    records: Iterable[LicenseRecord], texts: Mapping[str, str], progress: Progress | None = None
) -> LicenseScores:
    """Let the detector read each record's text and keep what it says; records without a text are only counted."""
    records = tuple(records)
    there = [record for record in records if record.member.sha256 in texts]
    task = (progress or SilentProgress()).task("reading", len(there), "texts")
    findings = []
    for record in there:
        findings.append(find_license(record, texts[record.member.sha256]))
        task.advance(1)
    return LicenseScores(tuple(findings), len(records))


def find_license(record: LicenseRecord, text: str) -> LicenseFinding:
    """Return what the detector says of one text."""
    if record.kind == "license_file":
        recognition = recognize(text)
        return LicenseFinding(record, recognition.expression or NONE, recognition.license_class, recognition.why)
    evidence = header_evidence(text, language_of_text(record.member.path, text))
    if evidence is None:
        return LicenseFinding(record, NONE, "none", "the opening comments say nothing of a licence")
    return LicenseFinding(record, evidence.expression or NONE, evidence.license_class, evidence.detail)
