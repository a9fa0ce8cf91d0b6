"""What is kept of earlier requests is found by its beginning, and stays within its bounds."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from stackwright.generate import prefixes
from stackwright.generate.prefixes import KeptPrefixes
from stackwright.generate.speculative import LONGEST_KEY, SHORTEST_KEY, PromptLookup, agreed
from stackwright.model.kv_cache import SavedTokens


def saved(num_tokens: int, value: float = 0.0) -> SavedTokens:
    """Return keys and values of 8 bytes a token."""
    return SavedTokens(torch.full((1, 1, num_tokens, 1), value), torch.full((1, 1, num_tokens, 1), value))


def test_the_longest_shared_beginning_is_found() -> None:
    kept = KeptPrefixes(1000)
    kept.keep([1, 2, 3], saved(3, 1.0))
    kept.keep([1, 2, 9, 9, 9], saved(5, 2.0))
    found, shared = kept.find([1, 2, 9, 4])
    assert found is not None
    assert (float(found.keys_LKTD[0, 0, 0, 0]), shared) == (2.0, 3)
    assert kept.find([5]) == (None, 0)


def test_what_is_the_beginning_of_another_is_not_kept_twice() -> None:
    kept = KeptPrefixes(1000)
    kept.keep([1, 2], saved(2))
    kept.keep([1, 2, 3], saved(3))
    kept.keep([1, 2, 3], saved(3))
    assert (len(kept), kept.num_bytes) == (1, 24)


def test_what_was_used_longest_ago_goes_first() -> None:
    kept = KeptPrefixes(80)
    kept.keep([1] * 5, saved(5))
    kept.keep([2] * 5, saved(5))
    kept.find([1, 1])
    kept.keep([3] * 5, saved(5))
    assert [kept.find([first])[1] for first in (1, 2, 3)] == [1, 0, 1]
    kept.keep([4] * 11, saved(11))  # more than may be kept at all
    assert kept.find([4])[1] == 0
    assert kept.num_bytes == 80


def test_the_number_of_sequences_is_bounded() -> None:
    kept = KeptPrefixes(10**6)
    for first in range(2 * prefixes.MOST_KEPT):
        kept.keep([first], saved(1))
    assert len(kept) == prefixes.MOST_KEPT


@given(st.lists(st.integers(0, 3), max_size=40))
def test_a_guess_is_what_followed_the_last_time(ids: list[int]) -> None:
    lookup = PromptLookup(ids)
    for size in range(LONGEST_KEY, SHORTEST_KEY - 1, -1):
        if len(ids) < size:
            continue
        ends = [place for place in range(size, len(ids)) if ids[place - size : place] == ids[-size:]]
        if ends:
            assert lookup.guess(5) == ids[ends[-1] : ends[-1] + 5]
            return
    assert lookup.guess(5) == []


def test_wrong_guesses_make_the_next_ones_shorter_and_right_ones_longer() -> None:
    lookup = PromptLookup([*range(20), *range(20), 0, 1, 2])
    assert lookup.guess() == [3, 4, 5, 6, 7, 8, 9, 10]
    lookup.learn(num_right=2, num_guessed=8)
    assert lookup.guess() == [3, 4]
    lookup.learn(num_right=0, num_guessed=2)
    assert lookup.guess() == [3]
    lookup.learn(num_right=1, num_guessed=1)
    assert lookup.guess() == [3, 4]
    lookup.learn(num_right=2, num_guessed=2)
    assert lookup.guess(most=3) == [3, 4, 5]


def test_a_guess_agrees_up_to_the_first_difference() -> None:
    assert agreed([1, 2, 3], [1, 2, 3, 4]) == 3
    assert agreed([1, 9, 3], [1, 2, 3, 4]) == 1
    assert agreed([9], [1, 2]) == 0
    assert agreed([], [1]) == 0
