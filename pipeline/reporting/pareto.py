"""Runs and tried networks against what they cost: pictures with the Pareto front."""

import math
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from pipeline.reporting.ablation import AblationPlan, Results
from pipeline.reporting.experiments import NamedRun

COSTS = {
    "macs": "multiply-accumulates",
    "flash_bytes": "bytes of the model",
    "arena_bytes": "bytes of arena",
}
WIDTH, HEIGHT, MARGIN = 300, 220, 56  # of one panel's plot and the room around it, pixels
STEP = 5  # percent, of the axis of UA
LETTERS = 13  # pixels from one label down to the next
LETTER = 6.6  # pixels across a letter, about


RUNS = (
    "UA of the int8 models, honest protocol with 95 % intervals, against what their networks cost"
)
TRIED = (
    "UA of float models on the development speakers, against what their networks cost in eight bits"
)


@dataclass(frozen=True)
class Point:
    """A network: UA in percent, with its 95 % interval where there is one."""

    name: str
    ua: float
    low: float
    high: float
    costs: dict[str, int]

    def said(self, cost: str) -> str:
        between = f" ({self.low:.2f} to {self.high:.2f})" if self.low < self.high else ""
        return f"{self.name}: UA {self.ua:.2f} %{between}, {self.costs[cost]:,} {COSTS[cost]}"


def point(row: NamedRun) -> Point:
    """What a run that was made says of the int8 model that ships, honest protocol."""
    assert row.metrics is not None
    ships, model = row.metrics["int8"], row.metrics["model"]
    # All of the plain graph, whichever way the run's board asked for.
    plain = (row.evaluation or {}).get("variants", {}).get("plain", row.metrics["mcu"])
    costs = {"macs": model["macs"], "flash_bytes": model["flash_bytes"], "arena_bytes": plain["arena_bytes"]}  # fmt: skip
    ua = ships["ua"]
    return Point(row.name, ua, ships.get("ua_low", ua), ships.get("ua_high", ua), costs)


def front(points: list[Point], cost: str) -> list[Point]:
    """Of `points`, those that no other beats in UA at the same `cost` or less, cheapest first."""
    best: list[Point] = []
    for each in sorted(points, key=lambda each: (each.costs[cost], -each.ua)):
        if not best or each.ua > best[-1].ua:
            best.append(each)
    return best


def picture(rows: dict[str, NamedRun]) -> str:
    """The committed runs, as `_drawn`."""
    by_heading: dict[str, list[Point]] = {}
    for row in rows.values():
        if row.metrics is not None and row.set:
            by_heading.setdefault(row.on, []).append(point(row))
    return _drawn(RUNS, by_heading)


def tried(plan: AblationPlan, done: Results) -> str:
    """The variants that change nothing but the network, and the base, as `_drawn`."""
    networks = [
        name
        for name, changes in plan.variants.items()
        if all(key.startswith("model.") for key in changes)
    ]
    by_heading: dict[str, list[Point]] = {}
    for start in plan.starts:
        column = plan.column(done, start)
        for name in networks:
            if (found := column.result(name)) is not None:
                ua, costs = found["ua"], {cost: found[cost] for cost in COSTS}
                by_heading.setdefault(start, []).append(Point(name, ua, ua, ua, costs))
    return _drawn(TRIED, by_heading)


def _drawn(title: str, by_heading: dict[str, list[Point]]) -> str:
    """A self-contained SVG: a line of panels under each heading with two points or more."""
    template = (files(__package__) / "pareto.svg.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(template).render(
        title=title,
        rows=[
            {"heading": heading, "panels": [_panel(points, cost) for cost in COSTS]}
            for heading, points in by_heading.items()
            if len(points) > 1
        ],
        width=WIDTH,
        height=HEIGHT,
        margin=MARGIN,
    )


def _ticks(most: float) -> list[int]:
    """Round values from 0 to `most`, three to six of them."""
    power = 10 ** int(math.log10(most / 5))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if most / step < 6)
    return list(range(0, int(most) + 1, step))


def _place_labels(marks: list[dict[str, Any]]) -> None:
    """Set `to_the_right` and `label_y` of each mark so that labels cover neither another nor a point, where there is room."""
    taken = [(mark["x"] - 5, mark["x"] + 5, mark["y"] - 5, mark["y"] + 5) for mark in marks]

    def box(mark: dict[str, Any], right: bool, y: float) -> tuple[float, float, float, float]:
        wide = LETTER * len(mark["label"])
        left = mark["x"] + 8 if right else mark["x"] - 8 - wide
        return left, left + wide, y - LETTERS + 2, y + 2

    def free(of: tuple[float, float, float, float]) -> bool:
        inside = of[0] > 0 and of[1] < WIDTH + MARGIN and of[3] < HEIGHT
        return inside and not any(
            of[0] < b[1] and b[0] < of[1] and of[2] < b[3] and b[2] < of[3] for b in taken
        )

    for mark in sorted(marks, key=lambda mark: mark["y"]):
        sides = (True, False) if mark["x"] < 0.6 * WIDTH else (False, True)
        # Downwards on one side first: so labels stand in the order of their points.
        places = [
            (right, mark["y"] - 7 + down)
            for right in sides
            for down in range(LETTERS * (len(marks) + 1))
        ]
        place = next((each for each in places if free(box(mark, *each))), places[0])
        mark["to_the_right"], mark["label_y"] = place
        taken.append(box(mark, *place))


def _panel(points: list[Point], cost: str) -> dict[str, Any]:
    """Places in pixels within one plot."""
    most = 1.1 * max(each.costs[cost] for each in points)
    low = STEP * int(min(each.low for each in points) // STEP)
    high = STEP * int(max(each.high for each in points) // STEP + 1)

    def y(ua: float) -> float:
        return round(HEIGHT * (high - ua) / (high - low), 1)

    def placed(each: Point) -> dict[str, Any]:
        x = round(WIDTH * each.costs[cost] / most, 1)
        return {
            "x": x,
            "y": y(each.ua),
            "low": y(each.low),
            "high": y(each.high),
            "label": each.name.removeprefix(shared),
            "said": each.said(cost),
        }

    heads = {each.name.partition("-")[0] for each in points}
    shared = f"{heads.pop()}-" if len(heads) == 1 else ""  # the corpus, which stands above
    marks = [placed(each) for each in points]
    _place_labels(marks)
    unit, name = (1e6, "M") if most > 1e7 else (1e3, "k")
    return {
        "title": COSTS[cost],
        "points": marks,
        "front": [placed(each) for each in front(points, cost)],
        "x_ticks": [
            {"x": round(WIDTH * value / most), "said": f"{value / unit:.0f} {name}"}
            for value in _ticks(most)
        ],
        "y_ticks": [{"y": y(value), "said": value} for value in range(low, high + 1, STEP)],
    }
