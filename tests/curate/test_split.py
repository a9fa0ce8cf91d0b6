"""The split is decided by the repository's name alone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stackwright.curate.split import SPLITS, split_of
from stackwright.recipe import SplitSettings

SETTINGS = SplitSettings(validation_fraction=0.1, test_fraction=0.2)


def test_shares_are_those_of_the_recipe() -> None:
    counts = Counter(split_of(f"source/repository-{number}", 0, SETTINGS) for number in range(5000))
    assert set(counts) == set(SPLITS)
    assert abs(counts["test"] / 5000 - 0.2) < 0.02
    assert abs(counts["validation"] / 5000 - 0.1) < 0.015


@given(st.text(), st.integers(0, 2**32 - 1))
def test_split_is_a_pure_function_of_name_and_seed(repo: str, seed: int) -> None:
    assert split_of(repo, seed, SETTINGS) == split_of(repo, seed, SETTINGS)


def test_the_seed_changes_the_split() -> None:
    names = [f"r{number}" for number in range(200)]
    assert [split_of(name, 0, SETTINGS) for name in names] != [split_of(name, 1, SETTINGS) for name in names]


def test_a_larger_share_only_moves_repositories_into_it() -> None:
    wider = SplitSettings(validation_fraction=0.1, test_fraction=0.3)
    for number in range(500):
        if split_of(f"r{number}", 0, SETTINGS) == "test":
            assert split_of(f"r{number}", 0, wider) == "test"


def test_golden_assignment() -> None:
    """Changing how the split is computed would move held-out repositories into training: never by accident."""
    found = {name: split_of(name, 0, SplitSettings()) for name in ("installed/numpy", "directory/a", "r56", "r71")}
    assert found == {"installed/numpy": "validation", "directory/a": "train", "r56": "train", "r71": "train"}
