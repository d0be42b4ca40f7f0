"""What one revision of the project did to another: scores, parameters, boards."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline import paths
from pipeline.errors import MissingError
from pipeline.mcu import boards
from pipeline.mcu.boards import Sizes
from pipeline.reporting.revisions import CLIP, Revision, flat, read
from pipeline.reporting.runs import JUDGED
from pipeline.scoring.speakers import Comparison, compare


@dataclass(frozen=True)
class ParamChange:
    """A parameter by its dotted name; None on a side that lacks it, values as JSON."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class BoardChange:
    """Which ways of running the model fit a board, before and after; none is an empty tuple."""

    board: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """`head` against `base`.

    apart : why their scores cannot be compared; empty when they can
    chance : UA of base against head, speaker by speaker, by the model's name
    boards : of the present table of boards, all of them
    """

    base: Revision
    head: Revision
    apart: tuple[str, ...]
    chance: dict[str, Comparison]
    params: tuple[ParamChange, ...]
    boards: tuple[BoardChange, ...]

    @property
    def comparable(self) -> bool:
        return not self.apart


def compare_revisions(base: str, head: str | None = None) -> Report:
    """Compare the run of `head`, the working tree when None, with that of `base`.

    Only what git tracks is read, so that neither the cache nor a remote is needed. A base without
    metrics.json (a first pull request) leaves its half of the report empty.

    Parameters
    ----------
    base, head : a commit, a branch, a tag, or the name of a DVC experiment

    Raises
    ------
    MissingError
        A revision is not there, or `head` has no metrics.json.
    SernetError
        This is no project under git, or a revision's file cannot be read as what it should be.
    """
    before, after = read(base), read(head)
    if after.metrics is None:
        where = "the working tree" if head is None else f"revision {head!r}"
        raise MissingError(
            f"no {paths.METRICS} in {where}, nothing to report: run `dvc repro`"
            + ("" if head is None else " there and commit what it writes")
        )
    apart = tuple(_apart(before, after))
    return Report(
        base=before,
        head=after,
        apart=apart,
        chance={} if apart else _chance(before.predictions, after.predictions),
        params=tuple(changed(before.params, after.params)),
        boards=tuple(_fits(before.needs(), after.needs())),
    )


def _apart(base: Revision, head: Revision) -> Iterator[str]:
    """Why the scores of the two cannot be compared."""
    if base.metrics is None or head.metrics is None:
        yield f"{base.name} has no {paths.METRICS}"
        return
    for key, called in (("corpus", "corpus"), ("classes", "number of classes"), ("split", "split")):
        before, after = base.metrics.get(key), head.metrics.get(key)
        # An older revision does not say how it was split.
        if before != after and (key != "split" or before is not None):
            yield f"the {called} is {before} in {base.name} and {after} in {head.name}"
    if base.predictions is None or head.predictions is None:
        before, after = base.metrics.get("clips"), head.metrics.get("clips")
        if before != after:
            yield f"{base.name} was tested on {before} clips, {head.name} on {after}"
        return
    sides = [rows[CLIP].sort_values(CLIP) for rows in (base.predictions, head.predictions)]
    if not np.array_equal(*sides):
        clips = [set(rows["clip"]) for rows in sides]
        yield (
            f"{base.name} was tested on {len(sides[0])} clips, {head.name} on {len(sides[1])}; {len(clips[0] & clips[1])} have the "
            "same name, and the names, speakers or labels differ"
        )


def _chance(base: pd.DataFrame | None, head: pd.DataFrame | None) -> dict[str, Comparison]:
    if base is None or head is None or base["speaker"].nunique() < 2:
        return {}
    columns = {name: f"predicted_{name}" for name in JUDGED}
    return {
        name: compare(base, head, column)
        for name, column in columns.items()
        if column in base and column in head
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> Iterator[ParamChange]:
    """The parameters that differ, in the order of `after`, then those that are gone."""
    old, new = dict(flat(before)), dict(flat(after))
    for name in [*new, *(name for name in old if name not in new)]:
        if old.get(name) != new.get(name):
            yield ParamChange(name, old.get(name), new.get(name))


def _fits(before: dict[str, Sizes], after: dict[str, Sizes]) -> Iterator[BoardChange]:
    for key, board in boards.load().items():
        sides = [
            tuple(name for name, need in needs.items() if boards.fits(board, need))
            for needs in (before, after)
        ]
        yield BoardChange(key, *sides)
