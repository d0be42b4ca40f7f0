"""Runs against what their networks cost: the front, and the picture of it."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from pipeline.reporting import ablation, experiments, pareto
from pipeline.reporting.ablation import AblationPlan, Start
from pipeline.reporting.experiments import Corpus, NamedRun
from pipeline.reporting.pareto import Point


def run(name: str, ua: float, macs: int, corpus: str = "one") -> NamedRun:
    metrics = {
        "int8": {"ua": ua, "ua_low": ua - 4, "ua_high": ua + 3},
        "model": {"macs": macs, "flash_bytes": macs // 5},
        "mcu": {"arena_bytes": macs // 10},
        "split": "leave one speaker out",
    }
    return NamedRun(name, Corpus(corpus, 9, 3), {"seed": 0}, None, metrics, {}, None, "")


ROWS = {
    "base": run("base", 70, 1_000_000),
    "wide": run("wide", 69, 2_000_000),
    "alone": run("alone", 50, 7, corpus="other"),
}


def test_labels_leave_out_the_corpus_and_keep_apart() -> None:
    rows = {name: run(name, ua, 1_000_000) for name, ua in (("one-a", 70), ("one-b", 69.9))}
    texts = list(
        ElementTree.fromstring(pareto.picture(rows)).iter("{http://www.w3.org/2000/svg}text")
    )
    places = {text.text: float(text.get("y", 0)) for text in texts if text.text in ("a", "b")}
    assert places["b"] - places["a"] >= pareto.LETTERS
    assert not any("one-" in (text.text or "") for text in texts)


def test_a_label_from_the_left_and_one_from_the_right_do_not_meet() -> None:
    dearest = run("a name that reaches far to the left", 70.1, 2_000_000)
    rows = {"cheap": run("another long one", 70, 1_000_000), "dear": dearest}
    drawn = ElementTree.fromstring(pareto.picture(rows))
    names = {of.name for of in rows.values()}
    placed = [
        (float(text.get("x", 0)), float(text.get("y", 0)), text.get("text-anchor"), len(text.text or ""))
        for text in drawn.iter("{http://www.w3.org/2000/svg}text")
        if text.text in names
    ][:2]  # fmt: skip
    (left, y, anchor, letters), (right, other_y, other_anchor, other_letters) = placed
    assert (anchor, other_anchor) == (None, "end")
    # They would meet on one line, so they stand on two.
    assert left + pareto.LETTER * letters > right - pareto.LETTER * other_letters
    assert abs(y - other_y) >= pareto.LETTERS


def test_the_front_holds_what_no_cheaper_network_beats() -> None:
    points = [
        Point(name, ua, ua, ua, {"macs": macs})
        for name, ua, macs in [
            ("small", 60, 1), ("dear", 59, 2), ("same", 60, 3), ("good", 70, 3), ("best", 71, 9),
        ]
    ]  # fmt: skip
    assert [each.name for each in pareto.front(points, "macs")] == ["small", "good", "best"]


def test_a_run_whose_board_had_it_tiled_stands_at_what_the_plain_graph_takes() -> None:
    tiled = replace(ROWS["base"], evaluation={"variants": {"plain": {"arena_bytes": 300_000}}})
    assert pareto.point(ROWS["base"]).costs["arena_bytes"] == 100_000
    assert pareto.point(tiled).costs["arena_bytes"] == 300_000


def test_runs_that_kept_others_out_are_drawn_apart() -> None:
    other = replace(ROWS["wide"], metrics={**(ROWS["wide"].metrics or {}), "split": "another"})
    titles = [
        title.text for title in ElementTree.fromstring(pareto.picture({**ROWS, "wide": other})).iter()
        if title.text and title.text.startswith("wide:")
    ]  # fmt: skip
    assert titles == []  # for a network alone there is no picture


def test_the_picture_has_each_run_at_its_cost_and_its_score() -> None:
    drawn = ElementTree.fromstring(pareto.picture(ROWS))
    svg = "{http://www.w3.org/2000/svg}"
    said = [title.text for title in drawn.iter(f"{svg}title")]
    assert len(said) == 1 + 3 * 2  # its own, and two networks against three costs
    assert "wide: UA 69.00 % (65.00 to 72.00), 2,000,000 multiply-accumulates" in said
    circles = {(mark.get("cx"), mark.get("cy")) for mark in drawn.iter(f"{svg}circle")}
    # By hand: 300 pixels are 110 % of the dearest, 220 pixels the 10 points from 75 down to 65.
    assert circles == {("136.4", "110.0"), ("272.7", "132.0")}
    # The axis ends at 2.2 million: a step of half a million is the first to need fewer than six.
    ticks = {text.text: text.get("x") for text in drawn.iter(f"{svg}text")}
    assert (ticks["500 k"], ticks["2000 k"]) == ("68", "273")
    front = next(iter(drawn.iter(f"{svg}polyline")))
    assert len(front.get("points", "").split()) == 1  # the wide one costs more and is worse


@pytest.mark.parametrize("most", [7.7, 12, 599, 60_500, 542_300, 175_000_000])
def test_an_axis_has_a_few_round_values_and_reaches_nearly_its_end(most: float) -> None:
    ticks = pareto._ticks(most)
    assert 3 <= len(ticks) <= 6
    assert ticks[0] == 0 and most - ticks[1] < ticks[-1] <= most
    assert len({*np.diff(ticks)}) == 1
    assert str(ticks[1]).rstrip("0") in {"1", "2", "5"}


def test_of_what_was_tried_the_networks_alone_are_drawn() -> None:
    plan = AblationPlan(
        ["a"], [0], dict.fromkeys(("one", "other"), Start(Corpus("one", 9, 3), {})), {},
        {"base": {}, "narrow": {"model.head_filters": 9}, "mixup": {"augment.mixup": 0.3}},
    )  # fmt: skip
    costs = {"macs": 1_000_000, "flash_bytes": 2000, "arena_bytes": 300}
    done = {
        corpus: {name: {"ua": 70.5, "key": plan.key(corpus, name), **costs} for name in names}
        for corpus, names in (("one", plan.variants), ("other", ["base"]))
    }
    drawn = ElementTree.fromstring(pareto.tried(plan, done))
    said = [title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    # Another corpus with a single network has nothing to compare.
    assert said[0] == pareto.TRIED
    assert said[1:] == [
        f"{name}: UA 70.50 %, {number} {cost}"
        for number, cost in zip(("1,000,000", "2,000", "300"), pareto.COSTS.values(), strict=True)
        for name in ("base", "narrow")
    ]


def test_a_run_that_was_not_made_is_not_drawn() -> None:
    not_run = NamedRun("later", Corpus("one", 9, 3), {"seed": 0}, None, None, None, None, "")
    assert pareto.picture({**ROWS, "later": not_run}) == pareto.picture(ROWS)


def test_the_documents_show_the_committed_runs_and_what_was_tried() -> None:
    rows, _ = experiments.read(ROOT / "experiments")
    assert pareto.picture(rows) == (ROOT / "docs" / "pareto.svg").read_text("utf-8")
    plan, done = ablation.plan(ROOT / ablation.PLAN), ablation.read(ROOT / ablation.RESULTS)
    assert pareto.tried(plan, done) == (ROOT / "docs" / "tried.svg").read_text("utf-8")
