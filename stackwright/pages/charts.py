"""Charts as SVG inside the page: lines over steps, horizontal bars, and dots with their intervals.

In: numbers and labels. Out: a figure with a title and a description for those who cannot see it. Invariants: no script,
no font and no colour of its own (the style sheet has them, for light and dark); a value that is not finite leaves a gap;
a chart without values says so. Lengths are in units of a drawing 480 wide, which the page scales to the room there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stackwright.pages import formats
from stackwright.pages.elements import NO_HTML, Html, element, join, paragraph
from stackwright.pages.scales import Point, Scale, finite, inner_ticks, spread, thin, ticks_between

WIDTH = 480
NUM_COLORS = 6
"""Line colours of the style sheet; the series after them use the same colours again, dashed."""

MOST_POINTS = 400
LABEL_GAP = 17
_CHARACTER = 8.0  # a little more than the mean width of a character at the larger of the two font sizes
_MOST_CHARACTERS = 56  # of label and figure together, on the line above a bar


@dataclass(frozen=True)
class Frame:
    """What every chart says about itself. `key` makes its ids and must occur once on a page."""

    key: str
    title: str
    description: str


@dataclass(frozen=True)
class Series:
    """A line. `raw` is drawn thin and pale behind its smoothed line; `marked` shows each point."""

    label: str
    points: Sequence[Point]
    color: int = 0
    style: Literal["line", "raw", "marked"] = "line"
    end_label: str = ""


@dataclass(frozen=True)
class Bar:
    """A bar of two parts, the second pale: what stayed and what was lost, for instance."""

    label: str
    text: str
    value: float
    rest: float = 0.0


@dataclass(frozen=True)
class Interval:
    """A value with the interval it lies in, when that is known."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    color: int | None = None  # None: a baseline, in grey


def color_class(color: int) -> str:
    """Return the class of a series' colour: the colours are used again, dashed, when there are more series."""
    return f"s{color % NUM_COLORS}" + (" dashed" if color >= NUM_COLORS else "")


def clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _svg(frame: Frame, height: float, *contents: Html) -> Html:
    title, description = f"{frame.key}-title", f"{frame.key}-description"
    return element(
        "svg",
        element("title", frame.title, id=title),
        element("desc", frame.description, id=description),
        *contents,
        viewBox=f"0 0 {WIDTH} {_number(height)}",
        role="img",
        aria_labelledby=title,
        aria_describedby=description,
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", class_: str | None = None) -> Html:
    return element("text", text, x=_number(x), y=_number(y), text_anchor=anchor, class_=class_)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    places = {"x1": _number(x1), "y1": _number(y1), "x2": _number(x2), "y2": _number(y2)}
    return element("line", **places, class_=class_)


def _rectangle(x: float, y: float, width: float, height: float, class_: str) -> Html:
    places = {"x": _number(x), "y": _number(y), "width": _number(max(width, 0.0)), "height": _number(height)}
    return element("rect", **places, class_=class_)


def figure(frame: Frame, drawing: Html, legend: Html = NO_HTML) -> Html:
    """Return a chart under its title and the sentence that says what to see."""
    heading = element("figcaption", element("strong", frame.title), " ", element("span", frame.description))
    return element("figure", heading, drawing, legend)


def figures(*charts: Html) -> Html:
    """Return charts side by side where there is room."""
    return element("div", *charts, class_="figures")


def _nothing(frame: Frame) -> Html:
    return figure(frame, paragraph("There are no values to draw.", class_="missing"))


def _legend(series: Sequence[Series]) -> Html:
    names = {entry.color: entry.label for entry in series if entry.style != "raw"}
    if len(names) < 2:
        return NO_HTML
    items = [
        element("li", element("span", class_=f"key {color_class(color)}", aria_hidden="true"), label)
        for color, label in names.items()
    ]
    return element("ul", *items, class_="legend")


def line_chart(frame: Frame, series: Sequence[Series], *, x_label: str, y_label: str, from_zero: bool = False) -> Html:
    """Draw lines over a common x axis. The value axis ends at round values, and begins at zero where that is asked."""
    places = [point for entry in series for point in entry.points if math.isfinite(point[0]) and math.isfinite(point[1])]
    if not places:
        return _nothing(frame)
    height, top, bottom, left = 262, 30, 222, 56
    ends = _ends(series)
    right = WIDTH - max([14.0, *(_CHARACTER * len(label) + 10 for _, label, _ in ends)])
    values = [y for _, y in places] + ([0.0] if from_zero else [])
    y_ticks = ticks_between(min(values), max(values))
    x_low, x_high = min(x for x, _ in places), max(x for x, _ in places)
    x_scale = Scale(x_low, x_high, left, right)
    y_scale = Scale(y_ticks[0], y_ticks[-1], bottom, top)
    grid = [
        join([_line(left, y_scale(tick), right, y_scale(tick), "grid"), _tick_text(left - 8, y_scale(tick) + 4, tick)])
        for tick in y_ticks
    ]
    x_ticks = inner_ticks(x_low, x_high) if x_high > x_low else [x_low]
    below = [_text(x_scale(tick), bottom + 18, formats.short(tick), anchor="middle", class_="tick") for tick in x_ticks]
    names = [_text(0, 14, y_label, class_="axis"), _text(right, height - 4, x_label, anchor="end", class_="axis")]
    lines = [_draw(entry, x_scale, y_scale) for entry in series]
    drawing = _svg(frame, height, *grid, *below, *names, *lines, *_end_labels(ends, y_scale, right + 6, top, bottom))
    return figure(frame, drawing, _legend(series))


def _tick_text(x: float, y: float, tick: float) -> Html:
    return _text(x, y, formats.short(tick), anchor="end", class_="tick")


def _draw(series: Series, x_scale: Scale, y_scale: Scale) -> Html:
    """Draw one line as a path with a gap wherever a value is not finite; a point between two gaps becomes a dot."""
    pieces: list[list[Point]] = [[]]
    for x, y in thin(series.points, MOST_POINTS):
        if math.isfinite(x) and math.isfinite(y):
            pieces[-1].append((x_scale(x), y_scale(y)))
        elif pieces[-1]:
            pieces.append([])
    paths = ["M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in piece) for piece in pieces if len(piece) > 1]
    dots = [piece[0] for piece in pieces if len(piece) == 1]
    if series.style == "marked":
        dots = [point for piece in pieces for point in piece]
    name = color_class(series.color)
    drawn = [element("path", d="".join(paths), class_=f"line {series.style} {name}")] if paths else []
    radius = 2 if series.style == "raw" else 3.5
    drawn += [element("circle", cx=_number(x), cy=_number(y), r=radius, class_=f"dot {name}") for x, y in dots]
    return join(drawn)


def _ends(series: Sequence[Series]) -> list[tuple[float, str, int]]:
    """Return value, label and colour for the end of each line that has a label and a last value."""
    ends = []
    for entry in series:
        values = finite(y for _, y in entry.points)
        if entry.end_label and values:
            ends.append((values[-1], clipped(entry.end_label, 14), entry.color))
    return ends


def _end_labels(ends: Sequence[tuple[float, str, int]], scale: Scale, x: float, top: float, bottom: float) -> list[Html]:
    places = spread([scale(value) for value, _, _ in ends], LABEL_GAP, top, bottom)
    return [
        _text(x, place + 4, label, class_=f"end {color_class(color)}")
        for place, (_, label, color) in zip(places, ends, strict=True)
    ]


def bar_chart(frame: Frame, bars: Sequence[Bar]) -> Html:
    """Draw bars from zero, one under the other; label and figure stand above each, so that long names have room."""
    shown = [bar for bar in bars if math.isfinite(bar.value) and math.isfinite(bar.rest)]
    longest = max((bar.value + bar.rest for bar in shown), default=0.0)
    if longest <= 0:
        return _nothing(frame)
    row, thickness = 38, 10
    scale = Scale(0.0, longest, 0.0, WIDTH)
    drawn = []
    for index, bar in enumerate(shown):
        top = index * row
        drawn += [
            _text(0, top + 15, clipped(bar.label, _MOST_CHARACTERS - len(bar.text)), class_="label"),
            _text(WIDTH, top + 15, bar.text, anchor="end", class_="figure"),
            _rectangle(0, top + 21, WIDTH, thickness, "track"),
            _rectangle(0, top + 21, scale(bar.value), thickness, "bar s0"),
        ]
        if bar.rest > 0:
            drawn.append(_rectangle(scale(bar.value), top + 21, scale(bar.rest), thickness, "rest"))
    return figure(frame, _svg(frame, row * len(shown), *drawn))


def interval_chart(frame: Frame, rows: Sequence[Interval], *, axis_label: str) -> Html:
    """Draw a dot for each value and a whisker for its interval, over one axis that need not begin at zero."""
    shown = [row for row in rows if math.isfinite(row.value)]
    if not shown:
        return _nothing(frame)
    ends = [end for row in shown for end in (row.value, row.low, row.high) if end is not None and math.isfinite(end)]
    ticks = ticks_between(min(ends), max(ends))
    scale = Scale(ticks[0], ticks[-1], 14, WIDTH - 14)
    height = 42 * len(shown)
    drawn = [_line(scale(tick), 0, scale(tick), height, "grid") for tick in ticks]
    drawn += [_text(scale(tick), height + 18, formats.short(tick), anchor="middle", class_="tick") for tick in ticks]
    for index, row in enumerate(shown):
        drawn.append(_interval(row, index * 42, scale))
    drawn.append(_text(WIDTH, height + 38, axis_label, anchor="end", class_="axis"))
    return figure(frame, _svg(frame, height + 42, *drawn))


def _interval(row: Interval, top: float, scale: Scale) -> Html:
    name = "baseline" if row.color is None else color_class(row.color)
    middle, text = top + 28, formats.interval(row.value, row.low, row.high)
    drawn = [
        _text(0, top + 16, clipped(row.label, _MOST_CHARACTERS - len(text)), class_="label halo"),
        _text(WIDTH, top + 16, text, anchor="end", class_="figure halo"),
        _line(14, middle, WIDTH - 14, middle, "track"),
    ]
    if row.low is not None and row.high is not None and finite([row.low, row.high]) == [row.low, row.high]:
        drawn.append(_line(scale(row.low), middle, scale(row.high), middle, f"whisker {name}"))
        drawn += [_line(scale(end), middle - 5, scale(end), middle + 5, f"whisker {name}") for end in (row.low, row.high)]
    drawn.append(element("circle", cx=_number(scale(row.value)), cy=_number(middle), r=5, class_=f"dot {name}"))
    return join(drawn)
