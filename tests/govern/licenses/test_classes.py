"""The table of classes: every id once, and no doubtful one among the permissive."""

from __future__ import annotations

import re

import pytest

from stackwright.govern.licenses.classes import best, class_of, class_table, worst
from stackwright.govern.licenses.fingerprints import LLVM_EXCEPTION, NO_TERMS, load_fingerprints


def test_every_id_that_can_be_recognised_has_a_class() -> None:
    known = class_table().classes
    ids = {license_id for template in load_fingerprints().templates for license_id in template.ids}
    assert {license_id for license_id in ids if license_id.lower() not in known} == {LLVM_EXCEPTION, NO_TERMS}
    assert len(ids) > 700


def test_every_alias_stands_for_ids_of_the_table() -> None:
    for name, expression in class_table().aliases.items():
        for license_id in re.split(r" (?:OR|AND) ", expression):
            assert license_id == "NOASSERTION" or class_of(license_id) != "unknown", f"{name} stands for {license_id}"


# What forbids commerce, changes or uses, and every licence whose name is that of a copyleft family.
NEVER = (
    r"(?:CC-BY-(?:NC|ND|SA)|[AL]?GPL|MPL|EPL|CDDL|EUPL|OSL|SSPL|BUSL|Elastic|PolyForm|FSL|Hippocratic|CECILL-[12C]|MS-RL"
    r"|OFL).*"
)


def test_no_restricting_licence_is_permissive() -> None:
    table = class_table()
    permissive = [license_id for license_id, license_class in table.classes.items() if license_class == "permissive"]
    assert [license_id for license_id in permissive if re.fullmatch(NEVER, table.spelling[license_id])] == []
    assert len(permissive) > 300


@pytest.mark.parametrize(
    ("license_id", "license_class"),
    [
        ("MIT", "permissive"), ("apache-2.0", "permissive"), ("BSD-4-Clause", "permissive"), ("CC0-1.0", "permissive"),
        ("CC-BY-4.0", "permissive"), ("MPL-2.0", "weak_copyleft"), ("LGPL-2.1-only", "weak_copyleft"),
        ("EPL-2.0", "weak_copyleft"), ("OFL-1.1", "weak_copyleft"), ("Artistic-1.0", "weak_copyleft"),
        ("GPL-2.0-or-later", "copyleft"), ("EUPL-1.2", "copyleft"), ("AGPL-3.0-only", "copyleft"), ("JSON", "non_free"),
        ("SSPL-1.0", "non_free"), ("CC-BY-NC-4.0", "non_free"), ("LicenseRef-Commons-Clause", "non_free"),
        ("LicenseRef-Own", "unknown"),
    ],
)  # fmt: skip
def test_the_class_of_common_licences(license_id: str, license_class: str) -> None:
    assert class_of(license_id) == license_class


def test_unknown_is_worse_than_anything_known() -> None:
    assert worst(["permissive", "unknown", "non_free"]) == "unknown"
    assert best(["unknown", "copyleft"]) == "copyleft"
