"""The labelled sets: which file of which package, and what a reader said of it.

In: `data/*.jsonl`, one record a line. Out: `LicenseRecord` and `PairRecord`, in the order of the file. A record holds no
text; its members name a published file and the SHA-256 of its bytes, so that everyone who measures reads the same. `part`
says whether a record may be looked at while a detector is being improved (`tune`) or only to measure it (`test`); all
records of a package are in one part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

Part = Literal["tune", "test", "all"]
TextKind = Literal["license_file", "header"]
PairLabel = Literal["near", "different"]

LABEL_CLASSES = ("permissive", "weak_copyleft", "copyleft", "non_free", "none")


@dataclass(frozen=True)
class Archive:
    """One published file of a package: a wheel, a source archive, or npm's `.tgz`."""

    index: Literal["pypi", "npm"]
    package: str
    version: str
    file: str


@dataclass(frozen=True)
class Member:
    """One file inside an archive, at the path that the archive writes."""

    archive: Archive
    path: str
    sha256: str

    @property
    def name(self) -> str:
        return f"{self.archive.package} {self.archive.version}: {self.path}"


@dataclass(frozen=True)
class LicenseRecord:
    """A licence file, or the opening comment of a source file, with the expression and class that a reader gave it."""

    member: Member
    kind: TextKind
    spdx: str
    license_class: str
    part: str
    note: str


@dataclass(frozen=True)
class PairRecord:
    """Two files, whether one is an edited copy of the other, and the share of lines that differ (difflib, 0 to 1)."""

    first: Member
    second: Member
    label: PairLabel
    kind: str
    changed_lines: float
    part: str
    note: str

    @property
    def members(self) -> tuple[Member, Member]:
        return self.first, self.second


def load_license_records(part: Part = "all") -> tuple[LicenseRecord, ...]:
    """Return the labelled licence texts of one part, or of both."""
    return tuple(parse_license_record(row) for row in _rows("licenses.jsonl", part))


def load_pair_records(part: Part = "all") -> tuple[PairRecord, ...]:
    """Return the labelled pairs of one part, or of both."""
    return tuple(parse_pair_record(row) for row in _rows("near_dup.jsonl", part))


def parse_license_record(row: dict[str, Any]) -> LicenseRecord:
    note = row.get("note", "")
    return LicenseRecord(_member(row), row["kind"], row["spdx"], row["class"], row["part"], note)


def parse_pair_record(row: dict[str, Any]) -> PairRecord:
    first, second, note = _member(row["a"]), _member(row["b"]), row.get("note", "")
    return PairRecord(first, second, row["label"], row["kind"], row["changed_lines"], row["part"], note)


def _member(row: dict[str, Any]) -> Member:
    archive = Archive(row["index"], row["package"], row["version"], row["artifact"])
    return Member(archive, row["path"], row["sha256"])


def _rows(name: str, part: Part) -> Iterator[dict[str, Any]]:
    text = (resources.files("stackwright.measure") / "data" / name).read_text("utf-8")
    for line in text.split("\n"):
        if line:
            row = json.loads(line)
            if part in ("all", row["part"]):
                yield row
