"""Intervals are Wilson's: known figures, inside 0 to 1, and narrower with more texts."""

from __future__ import annotations

import pytest

from stackwright.measure.shares import Share, share_of


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [  # method 3 of Newcombe 1998, table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_of_the_literature(count: int, total: int, low: float, high: float) -> None:
    assert Share(count, total).bounds == pytest.approx((low, high), abs=5e-5)


def test_interval_is_symmetric_and_does_not_leave_0_to_1() -> None:
    low, high = Share(7, 7).bounds or (0, 0)
    assert (1 - high, 1 - low) == pytest.approx(Share(0, 7).bounds)
    assert high == 1.0
    assert (Share(0, 7).bounds or (1,))[0] == 0.0


def test_nothing_of_nothing_has_no_value() -> None:
    assert Share(0, 0).value is None
    assert Share(0, 0).to_json() == {"count": 0, "total": 0, "value": None, "low": None, "high": None}


def test_share_counts_yes_among_all_answers() -> None:
    assert share_of(answer for answer in (True, False, True)) == Share(2, 3)
    assert share_of([]) == Share(0, 0)
