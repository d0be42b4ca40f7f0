"""The geometry of the page's line and point charts; the template draws it.

A chart is small, so that its text keeps its size on a phone and several stand side by side on a desk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

WIDTH, HEIGHT = 320, 210
LEFT, RIGHT, TOP, BOTTOM = 42, 310, 26, 166  # of the plot; y grows downwards
TICKS = 5  # at most, on an axis


@dataclass(frozen=True)
class Series:
    """A line through points (x, y); `style` is its class in the style sheet."""

    name: str
    style: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Mark:
    """A point; `style` is its class in the style sheet."""

    name: str
    style: str
    x: float
    y: float


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A chart in its own coordinates: `lines` as (style, path), `marks` as they are to be drawn."""

    summary: str
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[tuple[str, str]]
    marks: list[Mark]


def chart(
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    summary: str,
    series: Sequence[Series] = (),
    marks: Sequence[Mark] = (),
) -> Chart:
    """Lay out lines and points.

    Parameters
    ----------
    x_range, y_range : what the axes span, in the units of the points
    summary : the chart in words, for who does not see it
    """

    def x(value: float) -> float:
        return round(_within(value, x_range, LEFT, RIGHT), 1)

    def y(value: float) -> float:
        return round(_within(value, y_range, BOTTOM, TOP), 1)

    return Chart(
        summary=summary,
        x_label=x_label,
        y_label=y_label,
        x_ticks=[Tick(x(value), f"{value:,.6g}") for value in ticks(*x_range)],
        y_ticks=[Tick(y(value), f"{value:,.6g}") for value in ticks(*y_range)],
        lines=[
            (line.style, "M" + "L".join(f"{x(a)} {y(b)}" for a, b in line.points))
            for line in series
            if line.points
        ],
        marks=[Mark(mark.name, mark.style, x(mark.x), y(mark.y)) for mark in marks],
    )


def _within(value: float, span: tuple[float, float], start: float, end: float) -> float:
    low, high = span
    share = (value - low) / (high - low) if high > low else 0.5
    return start + share * (end - start)


def ticks(low: float, high: float) -> list[float]:
    """At most six round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    step = 10.0 ** floor(log10((high - low) / TICKS))
    while (high - low) / step > TICKS:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2
    first = -floor(-low / step)
    return [round(n * step, 10) for n in range(first, floor(high / step + 1e-9) + 1)]
