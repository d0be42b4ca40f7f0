"""Runs, wherever they are kept: their predictions, and how two of them compare."""

from collections.abc import Collection
from io import StringIO
from pathlib import Path
from textwrap import wrap

import numpy as np
import pandas as pd

from pipeline import paths, splits
from pipeline.errors import MissingError, SernetError
from pipeline.reporting import revisions
from pipeline.scoring.protocols import SHIPS, protocol
from pipeline.scoring.speakers import Comparison, compare

COLUMNS = ("clip", "fold", "speaker", "actual")
JUDGED = ("float", SHIPS)  # models whose difference is held against chance


def predictions(where: str) -> pd.DataFrame:
    """A run's predictions, all columns as text.

    Parameters
    ----------
    where : a predictions.csv, a folder that has one, or a revision: a commit, a branch, or the name
        of a DVC experiment

    Raises
    ------
    MissingError
        It is none of these.
    SernetError
        It is a file of something else.
    """
    path = Path(where)
    file = path / paths.PREDICTIONS if path.is_dir() else path
    try:
        content = file.read_text("utf-8") if file.is_file() else _of_revision(where)
        return pd.read_csv(StringIO(content), dtype=str, keep_default_na=False)
    except ValueError:  # of decoding too
        raise SernetError(
            f"{where} is no table of predictions: expected a predictions.csv"
        ) from None


def _of_revision(rev: str) -> str:
    try:
        content = revisions.text_of(rev, paths.PREDICTIONS)
    except SernetError:  # outside a project, or no revision of that name
        content = None
    if content is None:
        raise MissingError(
            f"no run at {rev!r}: looked for a file, for a folder with {paths.PREDICTIONS}, and for a revision that has it; "
            "`dvc exp show` lists experiments"
        )
    return content


def differences(
    a: str,
    b: str,
    model: str,
    wanted: tuple[str, ...] = ("ua", "wa"),
    without: Collection[str] = (),
) -> tuple[dict[str, Comparison], str]:
    """The `wanted` scores of B minus A, by their names, and who was kept out in both runs.

    The runs are given as for `predictions`; clips of the speakers `without` are left out of both.

    Raises
    ------
    SernetError
        A run is not there, lacks predictions of `model`, or is of other clips or other folds.
    """
    tables = {where: predictions(where) for where in (a, b)}
    column = f"predicted_{model}"
    for where, rows in tables.items():
        if missing := [name for name in COLUMNS if name not in rows]:
            raise SernetError(
                f"{where} is no table of predictions, it lacks {', '.join(missing)}: expected a predictions.csv"
            )
        if column not in rows:
            known = ", ".join(
                c.removeprefix("predicted_") for c in rows if c.startswith("predicted_")
            )
            raise SernetError(f"{where} has no predictions of {model!r}, expected one of: {known}")
    tables = {where: rows[~rows["speaker"].isin(without)] for where, rows in tables.items()}
    scores = {score: compare(tables[a], tables[b], column, score) for score in wanted}
    folds = [tables[where].sort_values("clip")["fold"] for where in (a, b)]
    if not np.array_equal(*(pd.factorize(of)[0] for of in folds)):
        said = [f"{_split(of)} ({of.nunique()} folds)" for of in folds]
        raise SernetError(
            f"the runs divide the same clips into other folds, {said[0]} and {said[1]}: compare runs of one split"
        )
    return scores, _split(folds[0])


def compared(a: str, b: str, model: str) -> str:
    """Two runs, given as for `predictions`, compared as text for a terminal of 80 columns.

    Raises
    ------
    SernetError
        As in `differences`.
    """
    scores, split = differences(a, b, model)
    ua = scores["ua"]
    lines = [
        f"A  {a}",
        f"B  {b}",
        f"{model}, protocol: {protocol(model)}, {ua.clips} clips, {ua.speakers} speakers",
        f"split: {split}",
        "",
        f"{'':4} {'A %':>7} {'B %':>7} {'B - A':>7}   95 % interval       p",
    ]
    for name, of in scores.items():
        between = f"[{of.interval.low:+.2f}, {of.interval.high:+.2f}]" if of.interval else "none"
        lines.append(
            f"{name.upper():4} {of.a:7.2f} {of.b:7.2f} {of.difference:+7.2f}   {between:17} {of.p:.4f}"
        )
    lines += ["", *wrap(f"The difference of UA is {ua.verdict}.", 80)]
    return "\n".join(lines)


def _split(folds: pd.Series) -> str:
    """What a test side is, by the names of the folds."""
    kind = folds.iloc[0].partition("-")[0]
    return splits.KINDS.get(kind, kind)
