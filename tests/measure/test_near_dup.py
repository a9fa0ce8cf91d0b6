"""Scores of near deduplication are counted as by hand, over the edges that its steps find and the exact similarity."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from stackwright.curate.near_dedup.presets import PRESETS
from stackwright.measure.near_dup import NearDupScores, PairFinding, exact_jaccard, find_edges, measure_near_dup
from stackwright.measure.records import Archive, Member, PairLabel, PairRecord
from stackwright.measure.shares import Share
from tests.measure.packages import sha256

ARCHIVE = Archive("pypi", "made", "1.0", "made-1.0.tar.gz")
PRESET = PRESETS["verified-0.7"]
RULE = PRESET.shingles


def words(seed: str, count: int) -> list[str]:
    return [f"{seed}{number}" for number in range(count)]


def source(seed: str, count: int = 200, changed: int = 0) -> str:
    """Return a text of `count` different words, of which the last `changed` are others."""
    return " ".join(words(seed, count - changed) + words(f"{seed}new", changed)) + "\n"


def record_of(first: str, second: str, label: PairLabel, kind: str = "version", changed: float = 0.0) -> PairRecord:
    one, other = (Member(ARCHIVE, f"{sha256(text.encode())[:6]}.py", sha256(text.encode())) for text in (first, second))
    return PairRecord(one, other, label, kind, changed, "tune", "")


def texts_of(*texts: str) -> dict[str, str]:
    return {sha256(text.encode()): text for text in texts}


def finding_of(label: PairLabel, edge: bool, exact: bool, kind: str = "version", changed: float = 0.05) -> PairFinding:
    return PairFinding(record_of("a", "b", label, kind, changed), edge, 0.8 if exact else 0.2, exact)


FINDINGS = (
    finding_of("near", True, True),
    finding_of("near", True, True, "fork", 0.1),
    finding_of("near", False, True, "fork", 0.11),  # lost on the way
    finding_of("near", False, False, "version", 0.9),
    finding_of("different", True, True, "template", 0.3),
    finding_of("different", False, False, "template", 1.0),
)
SCORES = NearDupScores(FINDINGS, 8, "made", 0.7)


def test_precision_and_recall_are_those_counted_by_hand() -> None:
    assert SCORES.precision() == Share(2, 3)
    assert SCORES.recall() == Share(2, 4)
    assert SCORES.precision("jaccard") == Share(3, 4)
    assert SCORES.recall("jaccard") == Share(3, 4)
    assert SCORES.apart == Share(1, 6)


def test_kinds_say_what_was_found_among_near_and_among_different_pairs() -> None:
    assert SCORES.by_kind() == {
        "fork": (Share(1, 2), Share(0, 0)),
        "template": (Share(0, 0), Share(1, 2)),
        "version": (Share(1, 2), Share(0, 0)),
    }


def test_ranges_of_changed_lines_hold_their_upper_end_and_together_every_pair() -> None:
    ranges = SCORES.by_changed_lines()
    assert ranges[0.0, 0.1] == (Share(2, 2), Share(0, 0))
    assert ranges[0.1, 0.2] == (Share(0, 1), Share(0, 0))
    assert ranges[0.2, 0.3] == (Share(0, 0), Share(1, 1))
    assert ranges[0.6, 1.0] == (Share(0, 1), Share(0, 1))
    assert sum(share.total for shares in ranges.values() for share in shares) == len(FINDINGS)


def test_pairs_without_a_changed_line_are_in_the_first_range() -> None:
    scores = NearDupScores((finding_of("near", True, True, changed=0.0),), 1, "made", 0.7)
    assert scores.by_changed_lines()[0.0, 0.1][0] == Share(1, 1)


def test_wrong_pairs_begin_with_what_was_taken_for_a_copy() -> None:
    assert SCORES.wrong == [FINDINGS[4], FINDINGS[2], FINDINGS[3]]
    value = SCORES.to_json()
    assert [pair["label"] for pair in value["wrong"]] == ["different", "near", "near"]
    assert value["wrong"][1]["changed_lines"] == 0.11
    assert value["wrong"][1]["is_edge"] is False
    assert value["recall"]["count"] == 2
    assert value["by_kind"][1]["different_found"]["total"] == 2
    assert value["by_changed_lines"][5] == {
        "above": 0.6,
        "to": 1.0,
        "near_found": Share(0, 1).to_json(),
        "different_found": Share(0, 1).to_json(),
    }


def test_jaccard_counts_shingles() -> None:
    """Ten words have six shingles of five; with the last changed, five are the same and one differs in each."""
    first, second = " ".join("abcdefghij"), " ".join("abcdefghiX")
    assert exact_jaccard(first, second, RULE) == Fraction(5, 7)
    assert exact_jaccard(first, first, RULE) == 1
    assert exact_jaccard(first, " ".join("klmnopqrst"), RULE) == 0


def test_jaccard_leaves_out_short_texts_and_licence_comments_as_the_rule_says() -> None:
    nine = " ".join("abcdefghi")
    assert exact_jaccard(nine, f"{nine} j", RULE) is None
    assert exact_jaccard(nine, nine, replace(RULE, least_tokens=9)) == 1
    comment = "# Copyright 2020 The makers of made things. All rights reserved.\n# Licensed under the MIT license.\n\n"
    code = "def add(a, b):\n    total = a + b\n    print(total)\n    return total\n"
    assert exact_jaccard(comment + code, code, RULE) == 1
    assert exact_jaccard(comment + code, code, replace(RULE, skip_license_comment=False)) < 1  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "first", "second"),
    [
        ({"lower_case": True}, "a b c d e f g h i j", "A B C D E F G H I J"),
        ({"letters": "ascii"}, "é b c d e f g h i j", "è b c d e f g h i j"),
        ({"drop_empty": True}, "a b  c d e f g h i j", "a b c d e f g h i j"),
    ],
)
def test_jaccard_follows_every_key_of_the_rule(change: dict[str, object], first: str, second: str) -> None:
    """Each key makes a pair equal that is not equal without it."""
    without = {"lower_case": False, "letters": "unicode", "drop_empty": False, "skip_license_comment": False}
    rule = replace(RULE, **without)  # type: ignore[arg-type]
    assert exact_jaccard(first, second, rule) != 1
    assert exact_jaccard(first, second, replace(rule, **change)) == 1  # type: ignore[arg-type]


def test_steps_and_exact_jaccard_agree_on_both_sides_of_the_threshold() -> None:
    """Of 200 words 196 shingles: k new words at the end leave 196 - k shared of 196 + k in all."""
    base, near, far = source("w"), source("w", changed=30), source("w", changed=40)
    other = source("v")
    records = [
        record_of(base, near, "near", changed=0.15),
        record_of(base, far, "near", changed=0.2),
        record_of(base, other, "different", "unrelated", 1.0),
    ]
    scores = measure_near_dup(records, texts_of(base, near, far, other), PRESET)
    assert [finding.is_edge for finding in scores.findings] == [True, False, False]
    assert [finding.jaccard for finding in scores.findings] == pytest.approx([166 / 226, 156 / 236, 0.0])
    assert [finding.reaches_threshold for finding in scores.findings] == [True, False, False]
    assert scores.apart == Share(0, 3)
    assert (scores.recall(), scores.precision()) == (Share(1, 2), Share(1, 1))
    assert (scores.preset, scores.threshold) == ("verified-0.7", 0.7)


def test_threshold_itself_is_reached() -> None:
    """304 words have 300 shingles; with 100 others at the end 200 are shared, of 400 in all."""
    preset = replace(PRESET, threshold=0.5)
    base, half = source("w", 304), source("w", 304, changed=100)
    finding = measure_near_dup([record_of(base, half, "near")], texts_of(base, half), preset).findings[0]
    assert finding.jaccard == 0.5
    assert finding.reaches_threshold


def test_all_texts_are_run_together_and_each_pair_is_judged_by_its_own_edge() -> None:
    """Three versions: the first is like the second and that like the third, which is unlike the first."""
    first, second, third = (
        source("w"),
        source("w", changed=25),
        " ".join([*words("w", 150), *words("x", 25), *words("wnew", 25)]),
    )
    records = [record_of(first, second, "near"), record_of(first, third, "different")]
    scores = measure_near_dup(records, texts_of(first, second, third), PRESET)
    assert (
        [finding.is_edge for finding in scores.findings]
        == [finding.reaches_threshold for finding in scores.findings]
        == [True, False]
    )


def test_pair_with_a_missing_text_is_only_counted() -> None:
    base, near = source("w"), source("w", changed=10)
    records = [record_of(base, near, "near"), record_of(base, source("v"), "different")]
    scores = measure_near_dup(records, texts_of(base, near), PRESET)
    assert len(scores.findings) == 1
    assert scores.num_records == 2
    assert measure_near_dup(records, texts_of(base), PRESET).findings == ()


def test_edges_do_not_depend_on_the_order_of_the_texts() -> None:
    texts = texts_of(*(source("w", changed=changed) for changed in (0, 5, 10, 60)))
    paths = dict.fromkeys(texts, "a.py")
    edges = find_edges(texts, paths, PRESET)
    assert edges == find_edges(dict(reversed(texts.items())), paths, PRESET)
    assert len(edges) == 3
