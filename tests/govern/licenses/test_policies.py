"""Policies: what the same evidence amounts to under each."""

from __future__ import annotations

from typing import Any

import pytest

from stackwright.govern.licenses import POLICIES, Evidence, LicenseVerdict, Policy, judge_document
from stackwright.govern.licenses.expressions import evaluate
from stackwright.govern.licenses.policies import AMENDMENTS
from stackwright.govern.licenses.repository import declared_evidence


def in_file(expression: str, folder: str = "") -> Evidence:
    return Evidence("r", "1", f"{folder}LICENSE", "license_file", expression, evaluate(expression)[0], "", folder)


def in_header(expression: str) -> Evidence:
    return Evidence("", "", "header", "header", expression, evaluate(expression)[0], "")


def verdict(policy: Policy = "strict-permissive", **evidence: Any) -> LicenseVerdict:
    declared = evidence.get("declared")
    return judge_document(
        evidence.get("path", "src/a.c"),
        evidence.get("is_vendor", False),
        evidence.get("header"),
        evidence.get("files", ()),
        declared and declared_evidence("r", "1", declared, "package.json"),
        policy,
        evidence.get("opted_in", False),
    )


def test_everything_that_governs_a_file_must_be_permissive() -> None:
    assert verdict(files=[in_file("MIT")]).license_type == "permissive"
    assert verdict(files=[in_file("MIT"), in_file("Apache-2.0")]).license_type == "permissive"
    assert verdict(files=[in_file("MIT"), in_file("GPL-2.0-only")]).license_class == "copyleft"
    assert verdict(files=[in_file("MIT")], header=in_header("GPL-2.0-only")).license_type == "non_permissive"
    assert verdict(files=[in_file("MIT")], declared="GPL-2.0-only").license_type == "non_permissive"
    assert verdict(files=[in_file("MIT AND LicenseRef-unknown")], declared="MIT").license_class == "unknown"
    assert verdict(header=in_header("MIT"), declared="LicenseRef-Own").license_class == "unknown"


def test_nothing_at_all_is_no_license() -> None:
    assert verdict() == LicenseVerdict("no_license", "none", (), "nothing says anything of a licence")


def test_the_verdict_names_what_decided() -> None:
    found = verdict(files=[in_file("MIT"), in_file("GPL-2.0-only", "")], declared="MIT")
    assert found.evidence.startswith("LICENSE: GPL-2.0-only")
    assert found.licenses == ("GPL-2.0-only", "MIT")


def test_a_declaration_that_names_every_licence_says_how_they_combine() -> None:
    files = [in_file("MIT"), in_file("GPL-2.0-only")]
    assert verdict(files=files, declared="MIT OR GPL-2.0-or-later").license_type == "permissive"
    assert verdict(files=files, declared="MIT AND GPL-2.0-only").license_type == "non_permissive"
    assert verdict(files=files, declared="MIT").license_type == "non_permissive"
    assert verdict(files=files, declared="MIT OR Apache-2.0").license_type == "non_permissive"


def test_a_choice_does_not_reach_the_header() -> None:
    found = verdict(files=[in_file("MIT")], declared="MIT OR GPL-2.0-only", header=in_header("GPL-2.0-only"))
    assert found.license_type == "non_permissive"


def test_a_folder_with_a_licence_of_its_own_is_judged_by_that() -> None:
    outer, own = in_file("GPL-3.0-only"), in_file("MIT", "src/")
    assert verdict(files=[outer, own], declared="GPL-3.0-only").license_type == "permissive"
    assert verdict(files=[in_file("MIT"), in_file("GPL-3.0-only", "src/")], declared="MIT").license_type == "non_permissive"


def test_vendored_code_does_not_inherit_the_licence_of_those_who_vendor_it() -> None:
    assert verdict(is_vendor=True, files=[in_file("MIT")], declared="MIT").license_type == "no_license"
    assert verdict(is_vendor=True, files=[in_file("MIT"), in_file("Zlib", "src/")]).licenses == ("Zlib",)
    assert verdict(is_vendor=True, header=in_header("ISC"), files=[in_file("GPL-2.0-only")]).licenses == ("ISC",)


@pytest.mark.parametrize(
    ("declared", "files", "expected"),
    [
        ("MIT", [in_file("GPL-3.0-only")], "permissive"),
        ("MPL-2.0", [in_file("MIT")], "non_permissive"),
        ("LGPL-2.1-only", [], "non_permissive"),
        ("EPL-2.0", [], "non_permissive"),
        (None, [in_file("MIT")], "permissive"),
        (None, [in_file("MIT", "src/")], "no_license"),
        ("NOASSERTION", [in_file("MIT")], "permissive"),
        (None, [], "no_license"),
    ],
)
def test_stack_v1_decides_by_repository(declared: str | None, files: list[Evidence], expected: str) -> None:
    assert verdict("stack-v1", declared=declared, files=files, header=in_header("GPL-2.0-only")).license_type == expected


@pytest.mark.parametrize(
    ("declared", "files", "expected"),
    [
        ("MIT", [in_file("GPL-3.0-only")], "permissive"),
        ("GPL-3.0-only", [in_file("MIT", "src/")], "non_permissive"),
        (None, [], "no_license"),
        ("NOASSERTION", [], "non_permissive"),
        (None, [in_file(min(AMENDMENTS))], "no_license"),
        (None, [in_file("MIT"), in_file(min(AMENDMENTS))], "permissive"),
        (None, [in_file("MIT"), in_file("Apache-2.0", "src/")], "permissive"),
        (None, [in_file("MIT"), in_file("LicenseRef-unknown", "src/")], "permissive"),
        (None, [in_file("LicenseRef-unknown")], "non_permissive"),
        (None, [in_file("MIT"), in_file("GPL-2.0-only", "src/")], "non_permissive"),
        ("NOASSERTION", [in_file("MIT")], "permissive"),
    ],
)
def test_stack_v2_accumulates_by_its_table(declared: str | None, files: list[Evidence], expected: str) -> None:
    assert verdict("stack-v2", declared=declared, files=files).license_type == expected


def test_opt_in_asks_for_a_yes_and_a_permissive_licence() -> None:
    assert verdict("opt-in", files=[in_file("MIT")]).license_type == "no_license"
    assert verdict("opt-in", files=[in_file("MIT")], opted_in=True).license_type == "permissive"
    assert verdict("opt-in", files=[in_file("GPL-2.0-only")], opted_in=True).license_type == "non_permissive"


def test_no_two_policies_say_the_same_of_everything() -> None:
    cases: list[dict[str, Any]] = [
        {"files": [in_file("MIT")]},
        {"files": [in_file("MIT")], "header": in_header("GPL-2.0-only")},
        {"files": [in_file("MIT"), in_file("GPL-2.0-only", "src/")]},
    ]
    seen = {policy: tuple(verdict(policy, **case).license_type for case in cases) for policy in POLICIES}
    assert len(set(seen.values())) == len(POLICIES)
