"""Shingles by numpy are those of a plain reading of the rule, on any text and in any batch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stackwright
from stackwright.curate.near_dedup import shingles
from stackwright.curate.near_dedup.presets import PRESETS, ShingleRule
from stackwright.curate.near_dedup.shingles import jaccard, prepare, shingle_texts

RULES = {name: preset.shingles for name, preset in PRESETS.items()}


def plain_shingles(text: str, rule: ShingleRule) -> set[tuple[str, ...]]:
    """Return the shingles as tuples of tokens, by regular expressions."""
    separator = re.compile(r"\W" if rule.letters == "unicode" else r"[^A-Za-z_0-9]")
    tokens = separator.split(prepare(text, rule))
    if rule.drop_empty:
        tokens = [token for token in tokens if token]
    if len(tokens) < rule.least_tokens:
        return set()
    return {tuple(tokens[first : first + rule.ngram]) for first in range(len(tokens) - rule.ngram + 1)}


def plain_jaccard(first: set[tuple[str, ...]], second: set[tuple[str, ...]]) -> float:
    return len(first & second) / len(first | second) if first | second else 0.0


def check(texts: list[str], rule: ShingleRule) -> None:
    sets, plain = shingle_texts(texts, rule), [plain_shingles(text, rule) for text in texts]
    assert [len(sets.of(index)) for index in range(len(texts))] == [len(expected) for expected in plain]
    for index in range(len(texts) - 1):
        expected = plain_jaccard(plain[index], plain[index + 1])
        assert jaccard(sets.of(index), sets.of(index + 1)) == pytest.approx(expected)


TEXT = st.text(st.sampled_from("ab_1 \n\t.é世²İß\U0001f600\ud800"), max_size=80)


@pytest.mark.parametrize("name", sorted(RULES))
@settings(max_examples=150, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=6))
def test_shingles_are_those_of_the_plain_rule(name: str, texts: list[str]) -> None:
    check(texts, RULES[name])


@pytest.mark.parametrize("name", sorted(RULES))
def test_shingles_of_real_code_are_those_of_the_plain_rule(name: str) -> None:
    files = sorted(Path(stackwright.__file__).parent.rglob("*.py"))
    check([file.read_text("utf-8") for file in files], RULES[name])


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"def name_{number}(a, b):\n    return a + b * {number} - c / d\n" * 3 for number in range(40)] + ["é " * 50]
    whole = shingle_texts(texts, RULES["verified-0.7"])
    monkeypatch.setattr(shingles, "BATCH_CHARACTERS", 100)
    assert shingle_texts(texts, RULES["verified-0.7"]).hashes.tolist() == whole.hashes.tolist()


def test_short_texts_are_exempt() -> None:
    sets = shingle_texts(["a b c d e f g h i", "a b c d e f g h i j"], RULES["verified-0.7"])
    assert [len(sets.of(0)), len(sets.of(1))] == [0, 6]


def test_a_shuffled_file_is_like_itself_only_where_empty_tokens_are_kept() -> None:
    """The trap of BigCode's literal split: indentation fills the shingles."""
    lines = [f"{' ' * 24}value_{number} = {number}\n" for number in range(60)]
    texts = ["".join(lines), "".join(lines[::-1])]
    literal, ours = (shingle_texts(texts, RULES[name]) for name in ("santacoder", "verified-0.7"))
    assert jaccard(literal.of(0), literal.of(1)) > 0.6
    assert jaccard(ours.of(0), ours.of(1)) < 0.4
