"""Charts put known values where they belong, and survive values that are missing."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.pages.charts import (
    NUM_COLORS,
    Bar,
    Frame,
    Interval,
    Series,
    bar_chart,
    color_class,
    interval_chart,
    line_chart,
)
from stackwright.pages.scales import Scale, inner_ticks, smoothed, spread, thin, ticks_between
from tests.pages.artifacts import ATTACK, Page

FRAME = Frame("loss", "Loss", "What to see.")
NAN = math.nan


def path_of(html: str) -> list[list[tuple[float, float]]]:
    """Return the pieces of the first line that was drawn."""
    match = re.search(r'<path d="([^"]*)"', html)
    assert match is not None
    pieces = match[1].removeprefix("M").split("M")
    return [[tuple(map(float, point.split())) for point in piece.split("L")] for piece in pieces]  # type: ignore[misc]


def test_scale_maps_its_ends_and_its_middle() -> None:
    scale = Scale(2.0, 4.0, 100.0, 0.0)
    assert [scale(2.0), scale(3.0), scale(4.0)] == [100.0, 50.0, 0.0]
    assert Scale(1.0, 1.0, 0.0, 10.0)(1.0) == 5.0


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 10.0, [0.0, 2.5, 5.0, 7.5, 10.0]),
        (2.43, 3.04, [2.4, 2.6, 2.8, 3.0, 3.2]),
        (0.0, 0.3, [0.0, 0.1, 0.2, 0.3]),
        (5.0, 5.0, [4.5, 4.75, 5.0, 5.25, 5.5]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, expected: list[float]) -> None:
    assert ticks_between(low, high) == expected


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_enclose_any_values_and_are_few(low: float, width: float) -> None:
    ticks = ticks_between(low, low + width)
    assert ticks[0] <= low + 1e-6 * width
    assert ticks[-1] >= low + width - 1e-6 * width
    assert 2 <= len(ticks) <= 7
    assert all(low <= tick <= low + width for tick in inner_ticks(low, low + width))


def test_thinning_is_bounded_and_keeps_ends_and_spikes() -> None:
    points = [(float(step), 1.0) for step in range(5000)]
    points[3333] = (3333.0, 99.0)
    points[1234] = (1234.0, -99.0)
    kept = thin(points, 100)
    assert len(kept) <= 100
    assert {points[0], points[-1], points[3333], points[1234]} <= set(kept)
    assert kept == sorted(kept)
    assert thin(points[:50], 100) == points[:50]


def test_smoothing_starts_at_the_first_value_and_leaves_out_what_is_no_number() -> None:
    assert smoothed([(0, 4.0), (1, NAN), (2, 4.0)]) == [(0, pytest.approx(4.0)), (2, pytest.approx(4.0))]
    rising = smoothed([(step, float(step)) for step in range(10)], weight=0.5)
    assert rising[1][1] == pytest.approx((0.5 * 0 * 0.5 + 0.5 * 1) / 0.75)


def test_labels_are_moved_apart_and_stay_inside() -> None:
    moved = spread([50.0, 49.0, 51.0, 100.0], 10.0, 0.0, 100.0)
    ordered = sorted(moved)
    assert all(after - before >= 10 for before, after in pairwise(ordered))
    assert moved[1] < moved[0] < moved[2] < moved[3]
    assert ordered[0] >= 0
    assert ordered[-1] <= 100
    assert spread([95.0, 96.0], 10.0, 0.0, 100.0) == [90.0, 100.0]


def test_line_puts_known_points_where_the_axes_say() -> None:
    html = line_chart(FRAME, [Series("a", [(0, 0.0), (50, 5.0), (100, 10.0)])], x_label="step", y_label="loss")
    ((first, middle, last),) = path_of(html)
    assert first == (56, 222)
    assert last[1] == 30
    assert middle == pytest.approx(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2))
    for tick in ("0", "2.5", "5", "7.5", "10", "100"):
        assert f">{tick}</text>" in html


def test_a_value_that_is_no_number_leaves_a_gap() -> None:
    points = [(0, 1.0), (1, 2.0), (2, NAN), (3, 1.0), (4, math.inf), (5, 2.0), (6, 3.0)]
    html = line_chart(FRAME, [Series("a", points)], x_label="step", y_label="loss")
    assert [len(piece) for piece in path_of(html)] == [2, 2]
    assert html.count("<circle") == 1  # the point between two gaps
    assert "nan" not in html
    assert "inf" not in html


@pytest.mark.parametrize("points", [[], [(0, NAN)], [(NAN, 1.0)]])
def test_a_line_without_values_says_so(points: list[tuple[float, float]]) -> None:
    html = line_chart(FRAME, [Series("a", points)], x_label="step", y_label="loss")
    assert "There are no values to draw." in html
    assert "<svg" not in html


def test_one_point_is_a_dot() -> None:
    html = line_chart(FRAME, [Series("a", [(7, 3.0)], end_label="3.00")], x_label="step", y_label="loss")
    assert html.count("<circle") == 1
    assert "<path" not in html
    assert ">7</text>" in html


def test_several_lines_have_a_legend_and_labels_and_one_has_no_legend() -> None:
    names = [f"run{index}" for index in range(NUM_COLORS + 1)]
    series = [Series(name, [(0, 1.0), (1, 2.0)], index, end_label=name) for index, name in enumerate(names)]
    html = line_chart(FRAME, series, x_label="step", y_label="loss")
    assert html.count("<li>") == len(names)
    assert all(f">{name}</text>" in html for name in names)
    assert color_class(NUM_COLORS) == "s0 dashed"
    assert "<li>" not in line_chart(FRAME, series[:1], x_label="step", y_label="loss")


def test_bars_are_in_proportion_and_the_rest_follows_them() -> None:
    html = bar_chart(FRAME, [Bar("a", "4", 3.0, 1.0), Bar("b", "2", 2.0), Bar("c", "?", NAN)])
    widths = {name: value for value, name in re.findall(r'width="([\d.]+)" height="10" class="([a-z0-9 ]+)"', html)}
    assert re.findall(r'width="([\d.]+)" height="10" class="bar s0"', html) == ["360", "240"]
    assert widths["rest"] == "120"
    assert 'x="360"' in html
    assert "nan" not in html
    assert "There are no values to draw." in bar_chart(FRAME, [Bar("a", "0", 0.0)])


def test_interval_chart_draws_whiskers_only_where_an_interval_is_known() -> None:
    html = interval_chart(FRAME, [Interval("own", 2.0, 1.0, 3.0, 0), Interval("base", 3.0)], axis_label="bits")
    assert html.count('class="whisker s0"') == 3
    assert html.count("whisker") == 3
    assert 'cx="240"' in html  # 2 is in the middle of 1 to 3
    assert 'class="dot baseline"' in html
    assert "There are no values to draw." in interval_chart(FRAME, [Interval("own", NAN)], axis_label="bits")


def test_a_chart_names_itself_for_those_who_cannot_see_it() -> None:
    frame = Frame("loss", f"Loss {ATTACK}", f"See {ATTACK}")
    for html in (
        line_chart(frame, [Series(ATTACK, [(0, 1.0)], end_label=ATTACK)], x_label=ATTACK, y_label=ATTACK),
        bar_chart(frame, [Bar(ATTACK, ATTACK, 1.0)]),
        interval_chart(frame, [Interval(ATTACK, 1.0)], axis_label=ATTACK),
    ):
        parsed = Page(html)
        assert "script" not in parsed.tags
        (svg,) = parsed.svgs
        assert svg["role"] == "img"
        assert svg["aria-labelledby"] in parsed.ids
        assert svg["aria-describedby"] in parsed.ids
