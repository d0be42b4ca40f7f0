"""What a change may cost before it is refused: accuracy, RAM, flash and time together."""

from collections.abc import Iterator

from pydantic import ValidationError

from pipeline import paths
from pipeline.errors import SernetError
from pipeline.params import Gate
from pipeline.reporting.differences import Report
from pipeline.reporting.revisions import Revision, section
from pipeline.scoring.protocols import SHIPS, protocol

NAMES = {"arena": "the arena", "ram": "RAM", "flash": "flash"}
ROUNDING = 0.011  # points; scores are kept with two decimals


def breaches(report: Report, gate: Gate) -> list[str]:
    """What the change breaks, a line each; none when it passes.

    Memory is held against the board of `head`, whatever the thresholds. What `head` does not say
    counts as broken, and so does a UA that its own predictions do not give. UA is not judged where
    the report says that scores cannot be compared, MACs are not where `base` has none.
    """
    return [*_memory(report), *_accuracy(report, gate), *_macs(report, gate)]


def thresholds(revision: Revision) -> Gate:
    """What the revision's own params.yaml allows; SernetError where it does not say."""
    try:
        return Gate.model_validate(revision.params.get("gate"))
    except ValidationError:
        raise SernetError(
            f"params.yaml of {revision.name!r} has no valid thresholds, expected gate.ua_drop and gate.macs_growth: give it these"
        ) from None


def unjudged(report: Report) -> list[str]:
    """What `breaches` cannot hold against `base`, and why, a line each."""
    lines = []
    if not report.comparable:
        lines.append(f"UA: {'; '.join(report.apart)}")
    elif report.base.number("int8.ua") is None:
        lines.append(f"UA: {report.base.name} has no int8.ua")
    if report.base.number("model.macs") is None:
        lines.append(f"MACs: {report.base.name} has none")
    return lines


def _lacking(dotted: str) -> str:
    return f"{paths.METRICS} lacks {dotted}, expected a number: run `dvc repro`"


def _memory(report: Report) -> Iterator[str]:
    head = report.head
    mcu = section(head.metrics, "mcu")
    board = mcu.get("board", "the board")
    short = []
    for what in ("arena", "ram", "flash"):
        needed = f"mcu.{what}_needed_bytes" if what == "flash" else f"mcu.{what}_bytes"
        need, most = head.number(needed), head.number(f"mcu.{what}_limit_bytes")
        if need is None or most is None:
            short.append(what)
            yield _lacking(needed if need is None else f"mcu.{what}_limit_bytes")
        # The arena's limit is what all else leaves of the RAM: one shortage, one line.
        elif need > most and not (what == "ram" and "arena" in short):
            short.append(what)
            yield f"{NAMES[what]} needs {need:,} bytes, {need - most:,} more than {board} has for it ({most:,})"
    if not short and not mcu.get("fits"):
        yield f"mcu.fits is not true for {board}, expected a model that fits: run `sernet budget`"


def _accuracy(report: Report, gate: Gate) -> Iterator[str]:
    after = report.head.number("int8.ua")
    if after is None:
        yield _lacking("int8.ua")
        return
    counted = report.head.ua_of_predictions("int8")
    if counted is None:
        yield f"{paths.PREDICTIONS} lacks what int8 said of each clip, expected what {paths.METRICS} rests on: run `dvc repro`"
    elif abs(counted - after) > ROUNDING:
        yield (
            f"{paths.METRICS} says that int8.ua is {after:.2f} %, {paths.PREDICTIONS} gives {counted:.2f} %: they are of two runs, "
            "or edited; run `dvc repro`"
        )
    before = report.base.number("int8.ua")
    if before is None or not report.comparable:
        return
    lost = round(before - after, 2)  # the metrics have two decimals
    if lost > gate.ua_drop:
        yield (
            f"UA of the int8 model ({protocol(SHIPS)} protocol) fell by {lost:.2f} points, from {before:.2f} to {after:.2f} %; gate.ua_drop allows "
            f"{gate.ua_drop:g}"
        )


def _macs(report: Report, gate: Gate) -> Iterator[str]:
    if gate.macs_growth is None:
        return
    after, before = report.head.number("model.macs"), report.base.number("model.macs")
    if after is None:
        yield _lacking("model.macs")
    elif before and after > before * (1 + gate.macs_growth / 100):
        grown = 100 * (after / before - 1)
        yield f"MACs grew by {grown:.1f} %, from {before:,} to {after:,}; gate.macs_growth allows {gate.macs_growth:g} %"
