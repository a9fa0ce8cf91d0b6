"""The labelled sets that are shipped can be read, are parted by package, and hold labels that can be compared."""

from __future__ import annotations

import re

import pytest

from stackwright.measure.expressions import _parsed
from stackwright.measure.records import LABEL_CLASSES, Member, load_license_records, load_pair_records

LICENSES = load_license_records()
PAIRS = load_pair_records()
MEMBERS = [record.member for record in LICENSES] + [member for pair in PAIRS for member in pair.members]


@pytest.mark.parametrize("load", [load_license_records, load_pair_records])
def test_both_parts_together_are_all_records(load: type) -> None:
    assert sorted(map(repr, [*load("tune"), *load("test")])) == sorted(map(repr, load("all")))
    assert load("tune")
    assert load("test")


def test_a_package_is_in_one_part_so_that_tuning_does_not_see_what_is_measured() -> None:
    tune, test = ({record.member.archive.package for record in load_license_records(part)} for part in ("tune", "test"))
    assert not tune & test


def test_members_are_named_by_archive_path_and_digest() -> None:
    for member in MEMBERS:
        assert re.fullmatch("[0-9a-f]{64}", member.sha256), member
        assert member.archive.index in ("pypi", "npm"), member
        assert member.archive.file.endswith((".whl", ".tar.gz", ".tgz")), member
        assert "/" not in member.archive.file, member


def test_labels_of_licences_are_expressions_and_classes() -> None:
    for record in LICENSES:
        assert _parsed(record.spdx) is not None, record
        assert record.license_class in LABEL_CLASSES, record
        assert record.kind in ("license_file", "header"), record


def test_labels_of_pairs_are_near_or_different() -> None:
    for pair in PAIRS:
        assert pair.label in ("near", "different"), pair
        assert 0 <= pair.changed_lines <= 1, pair
        assert pair.first.sha256 != pair.second.sha256, pair


def test_no_record_is_there_twice() -> None:
    texts = [(record.member, record.kind) for record in LICENSES]
    assert len(set(texts)) == len(texts)
    pairs: list[frozenset[Member]] = [frozenset(pair.members) for pair in PAIRS]
    assert len(set(pairs)) == len(pairs)
