"""Scores of the licence detector are counted as by hand, and the detector is asked the way the pipeline asks it."""

from __future__ import annotations

from collections import Counter

import pytest

from stackwright.measure import licenses
from stackwright.measure.licenses import LicenseFinding, LicenseScores, find_license, measure_licenses
from stackwright.measure.records import Archive, LicenseRecord, Member, TextKind
from stackwright.measure.shares import Share
from tests.measure.packages import sha256

ARCHIVE = Archive("pypi", "made", "1.0", "made-1.0.tar.gz")


def record_of(
    spdx: str, license_class: str, *, kind: TextKind = "license_file", path: str = "made/LICENSE", text: str = ""
) -> LicenseRecord:
    member = Member(ARCHIVE, path, sha256(text.encode() or path.encode()))
    return LicenseRecord(member, kind, spdx, license_class, "tune", "")


def finding_of(label: tuple[str, str], found: tuple[str, str], kind: TextKind = "license_file") -> LicenseFinding:
    return LicenseFinding(record_of(*label, kind=kind), *found, "because")


MIT, GPL = ("MIT", "permissive"), ("GPL-3.0-only", "copyleft")
FINDINGS = (
    finding_of(MIT, MIT),  # right
    finding_of(("MIT AND ISC", "permissive"), ("MIT OR ISC", "permissive")),  # class and names, not the expression
    finding_of(MIT, ("NONE", "none")),  # missed
    finding_of(GPL, MIT),  # falsely permissive
    finding_of(GPL, ("GPL-3.0-or-later", "copyleft")),  # right: a licence file cannot tell
    finding_of(GPL, ("GPL-3.0-or-later", "copyleft"), "header"),  # wrong: a header can
    finding_of(("LicenseRef-Shop", "non_free"), ("LicenseRef-unknown", "unknown")),  # right but for the class
    finding_of(MIT, MIT, "header"),  # right
    finding_of(("NONE", "none"), ("NONE", "none"), "header"),  # right
)
SCORES = LicenseScores(FINDINGS, 12)


def test_shares_of_right_answers_are_those_counted_by_hand() -> None:
    assert SCORES.right("license_file") == Share(3, 6)
    assert SCORES.right("header") == Share(2, 3)
    assert SCORES.right() == Share(5, 9)
    assert SCORES.names_the_same("license_file") == Share(4, 6)
    assert SCORES.names_the_same("header") == Share(2, 3)
    assert SCORES.right_class("license_file") == Share(3, 6)
    assert SCORES.right_class() == Share(6, 9)


def test_precision_and_recall_of_permissive_are_those_counted_by_hand() -> None:
    assert SCORES.permissive_precision() == Share(3, 4)
    assert SCORES.permissive_precision("header") == Share(1, 1)
    assert SCORES.permissive_recall() == Share(3, 4)
    assert SCORES.permissive_recall("license_file") == Share(2, 3)


def test_confusion_counts_every_finding_by_label_and_found_class() -> None:
    assert SCORES.confusion == Counter(
        {
            ("permissive", "permissive"): 3,
            ("permissive", "none"): 1,
            ("copyleft", "permissive"): 1,
            ("copyleft", "copyleft"): 2,
            ("non_free", "unknown"): 1,
            ("none", "none"): 1,
        }
    )


def test_wrong_findings_begin_with_what_must_not_happen() -> None:
    assert SCORES.wrong == [FINDINGS[3], FINDINGS[2], FINDINGS[6], FINDINGS[1], FINDINGS[5]]


def test_json_lists_every_wrong_record_with_label_found_and_why() -> None:
    value = SCORES.to_json()
    assert (value["num_records"], value["num_measured"]) == (12, 9)
    assert value["scores"]["all"]["permissive_precision"]["count"] == 3
    assert value["scores"]["header"]["right"]["total"] == 3
    assert value["confusion"][0] == {"label": "copyleft", "found": "copyleft", "texts": 2}
    assert len(value["wrong"]) == 5
    assert value["wrong"][0] == {
        "package": "made",
        "version": "1.0",
        "path": "made/LICENSE",
        "kind": "license_file",
        "label": "GPL-3.0-only",
        "label_class": "copyleft",
        "found": "MIT",
        "found_class": "permissive",
        "why": "because",
        "note": "",
    }


def test_only_records_with_a_text_are_measured() -> None:
    text = "SPDX-License-Identifier: ISC\n"
    there, gone = record_of("ISC", "permissive", text=text), record_of("MIT", "permissive")
    scores = measure_licenses([gone, there], {there.member.sha256: text})
    assert [finding.record for finding in scores.findings] == [there]
    assert scores.num_records == 2
    assert scores.right() == Share(1, 1)


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("a.py", "# SPDX-License-Identifier: MIT OR GPL-2.0-only\nx = 1\n", ("MIT OR GPL-2.0-only", "permissive")),
        ("a.sql", "-- SPDX-License-Identifier: ISC\nselect 1;\n", ("ISC", "permissive")),
        ("a.py", "x = 1\n", ("NONE", "none")),
        # Not a comment in this language: what the program prints is its own affair.
        ("a.py", "print('SPDX-License-Identifier: MIT')\n", ("NONE", "none")),
    ],
)
def test_headers_are_read_as_comments_of_their_language(path: str, text: str, found: tuple[str, str]) -> None:
    finding = find_license(record_of("MIT", "permissive", kind="header", path=path), text)
    assert (finding.expression, finding.license_class) == found
    assert finding.why


def test_licence_file_is_read_whole() -> None:
    finding = find_license(record_of("ISC", "permissive"), "x = 1\nSPDX-License-Identifier: ISC\n")
    assert finding.expression.startswith("ISC")
    assert find_license(record_of("NONE", "none"), "").expression == "NONE"


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a.sql", "select 1;\n", "SQL"),
        ("a.h", "class Made {};\n", "C++"),
        ("a.h", "int made;\n", "C"),
        ("a.odd", "x\n", None),
    ],
)
def test_headers_are_asked_for_with_the_language_of_the_file(
    monkeypatch: pytest.MonkeyPatch, path: str, text: str, language: str | None
) -> None:
    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr(licenses, "header_evidence", lambda *arguments: asked.append(arguments))
    find_license(record_of("NONE", "none", kind="header", path=path), text)
    assert asked == [(text, language)]
