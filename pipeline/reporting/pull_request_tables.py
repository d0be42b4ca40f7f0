"""The tables of a pull request's comment: rows of text, before and after."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.reporting.differences import Report
from pipeline.reporting.revisions import Revision, section
from pipeline.scoring.protocols import MODELS, PAPERS, SHIPS

MOST = 40  # rows of a table, so that the whole stays below the 65,536 characters of a comment
CLASSES = 16  # of a confusion that is shown
SPARKS = "▁▂▃▄▅▆▇█"
COLUMNS = 32  # of a learning curve

HONEST = ("float", SHIPS)
PAPER = (PAPERS,)
SCORES = {"ua": "UA", "wa": "WA", "f1": "F1"}


@dataclass(frozen=True)
class ChangeRow:
    """A line of a table; a side that has no such figure is a dash."""

    name: str
    before: str
    after: str
    change: str = ""
    limit: str = ""


def scores(report: Report, models: Iterable[str]) -> list[ChangeRow]:
    """UA, WA and F1 of `models`, a row each."""
    rows = []
    for key in models:
        for score, called in SCORES.items():
            before, after = (_score(of, key, score) for of in (report.base, report.head))
            change = _points(report, f"{key}.{score}")
            rows.append(ChangeRow(f"{MODELS[key]}: {called} %", before, after, change))
    return rows


def _score(of: Revision, key: str, score: str) -> str:
    value = of.number(f"{key}.{score}")
    if value is None:
        return "–"
    low, high = (of.number(f"{key}.{score}_{end}") for end in ("low", "high"))
    return f"{value:.2f}" + ("" if low is None or high is None else f" ({low:.2f} to {high:.2f})")


def _points(report: Report, dotted: str) -> str:
    before, after = report.base.number(dotted), report.head.number(dotted)
    if before is None or after is None or not report.comparable:
        return ""
    return f"{after - before:+.2f}"


def front_ends(report: Report) -> list[ChangeRow]:
    """UA of the int8 model behind each front end that was measured; names are a user's text."""
    rows = []
    for name in section(report.head.metrics, "front_end"):
        before, after = (_score(of, "front_end", name) for of in (report.base, report.head))
        rows.append(ChangeRow(name, before, after, _points(report, f"front_end.{name}")))
    return rows


def memory(report: Report) -> list[ChangeRow]:
    """Bytes and operations before and after, and the limit of head's board."""
    rows = []
    for name, dotted, limit in (
        ("arena, bytes", "mcu.arena_bytes", "mcu.arena_limit_bytes"),
        ("RAM in all, bytes", "mcu.ram_bytes", "mcu.ram_limit_bytes"),
        ("flash in all, bytes", "mcu.flash_needed_bytes", "mcu.flash_limit_bytes"),
        ("model file, bytes", "model.flash_bytes", None),
        ("MACs", "model.macs", None),
        ("MACs as run on the board", "mcu.macs", None),
        ("parameters", "model.params", None),
    ):
        before, after = report.base.number(dotted), report.head.number(dotted)
        if before is None and after is None:
            continue
        change = "" if before is None or after is None else f"{after - before:+,}"
        most = report.head.number(limit) if limit else None
        rows.append(
            ChangeRow(
                name, count(before), count(after), change, "" if most is None else f"{most:,}"
            )
        )
    return rows


def count(value: float | None) -> str:
    """A number with commas; a dash where there is none."""
    return "–" if value is None else f"{value:,}"


def moved(report: Report) -> tuple[list[str], list[str]]:
    """Boards that the change loses and those that it gains."""
    if not report.base.needs():
        return [], []
    return (
        [of.board for of in report.boards if of.before and not of.after],
        [of.board for of in report.boards if of.after and not of.before],
    )


def confusion(report: Report) -> dict[str, Any] | None:
    """Counts of the int8 model, and by how many the change moved them.

    Returns
    -------
    dict or None
        `labels`, and `rows` of (label, cells, recall in percent as text); None where head has no
        confusion or more classes than a comment can show.
    """
    labels: Any = report.head.evaluation.get("labels")
    after = _counts(report.head, labels)
    if not after or len(after) > CLASSES:
        return None
    alike = report.comparable and report.base.evaluation.get("labels") == labels
    before = (_counts(report.base, labels) if alike else None) or after
    rows = []
    for k, label in enumerate(labels):
        cells = [
            f"{new} ({new - old:+})" if new != old else f"{new}"
            for new, old in zip(after[k], before[k], strict=True)
        ]
        recalls = [100 * counts[k][k] / max(1, sum(counts[k])) for counts in (before, after)]
        moved = f" ({recalls[1] - recalls[0]:+.2f})" if recalls[0] != recalls[1] else ""
        rows.append((label, cells, f"{recalls[1]:.2f}{moved}"))
    return {"labels": labels, "rows": rows, "compared": before is not after}


def _counts(of: Revision, labels: Any) -> list[list[int]] | None:
    """The confusion, one row and one column for each of `labels`; None where it is not that."""
    found = section(of.evaluation, "models", SHIPS).get("confusion")
    if not isinstance(labels, list) or not isinstance(found, list) or len(found) != len(labels):
        return None
    if not all(isinstance(row, list) and len(row) == len(labels) for row in found):
        return None
    return found if all(type(count) is int for row in found for count in row) else None


def folds(report: Report) -> list[ChangeRow]:
    """UA of the int8 model per fold; most of all those that the change moved most."""
    after = _ua_of_folds(report.head)
    before = _ua_of_folds(report.base) if report.comparable else {}
    by_move = sorted(after, key=lambda name: -abs(after[name] - before.get(name, after[name])))
    return [
        ChangeRow(
            name,
            f"{before[name]:.2f}" if name in before else "–",
            f"{after[name]:.2f}",
            f"{after[name] - before[name]:+.2f}" if name in before else "",
        )
        for name in by_move[:MOST]
    ]


def _ua_of_folds(of: Revision) -> dict[str, float]:
    found = section(of.evaluation, "models", SHIPS, "folds")
    scores = {name: section(found, name).get("ua") for name in found}
    return {name: ua for name, ua in scores.items() if isinstance(ua, int | float)}


def curves(report: Report) -> list[tuple[str, str, str]]:
    """Learning curves, mean over folds: what is shown, of which side, the curve as text."""
    shown = []
    for column, what in (
        ("train_loss", "training loss"),
        ("train_accuracy", "training accuracy"),
    ):
        values = {
            side: of.curves[column].dropna().tolist()
            for side, of in (("target", report.base), ("this change", report.head))
            if of.curves is not None and column in of.curves and of.curves[column].notna().any()
        }
        if not values:
            continue
        low = min(min(of) for of in values.values())
        high = max(max(of) for of in values.values())
        shown += [(what, side, _curve(of, low, high)) for side, of in values.items()]
    return shown


def _curve(values: list[float], low: float, high: float) -> str:
    picked = [values[round(k)] for k in _evenly(len(values))]
    scale = (len(SPARKS) - 1) / (high - low) if high > low else 0.0
    bars = "".join(SPARKS[round((value - low) * scale)] for value in picked)
    return f"{bars} {values[0]:.3f} to {values[-1]:.3f} in {len(values)} epochs"


def _evenly(count: int) -> Iterable[float]:
    """Up to COLUMNS indices from the first to the last of `count`."""
    if count <= COLUMNS:
        return range(count)
    return (k * (count - 1) / (COLUMNS - 1) for k in range(COLUMNS))
