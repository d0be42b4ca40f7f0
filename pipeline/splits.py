"""Which clips train, choose and test in each fold."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline import paths
from pipeline.errors import SplitError

FINAL = "final"  # the fold that tests nothing: its model is the one to deploy


@dataclass(frozen=True)
class Fold:
    """The clips of one fold; `validation` is empty unless an inner speaker chooses the epoch."""

    name: str
    train: list[str]
    validation: list[str]
    test: list[str]

    @property
    def training_side(self) -> list[str]:
        """All that may be looked at before the test."""
        return self.train + self.validation


def make(manifest: pd.DataFrame, leave_out: str, inner_validation: bool) -> pd.DataFrame:
    """Divide the clips into folds.

    Each speaker (or session) is the test side of one fold. With `inner_validation`, the next one
    in order is kept out of that fold's training to choose the epoch. The fold `final` trains on
    all clips.

    Parameters
    ----------
    manifest : columns clip, and the one named by `leave_out`
    leave_out : `speaker` or `session`

    Returns
    -------
    DataFrame with the columns fold, clip, role (train, validation, test)

    Raises
    ------
    SplitError
        There are too few speakers or sessions, or clips without one.
    """
    keys = manifest[leave_out]
    if (keys == "").any():
        clip = manifest["clip"][keys == ""].iloc[0]
        raise SplitError(
            f"split.leave_out is {leave_out}, but clip {clip} has no {leave_out}; name it in the corpus or set split.leave_out to speaker"
        )
    groups = sorted(keys.unique())
    needed = 3 if inner_validation else 2
    if len(groups) < needed:
        raise SplitError(
            f"{len(groups)} {leave_out}(s) in the corpus, split.leave_out={leave_out} needs at least {needed}"
            + (" with split.inner_validation" if inner_validation else "")
        )
    parts = []
    for number, group in enumerate([*groups, None]):
        role = pd.Series("train", index=manifest.index)
        if inner_validation and group is not None:
            role[keys == groups[(number + 1) % len(groups)]] = "validation"
        role[keys == group] = "test"
        parts.append(
            pd.DataFrame(
                {
                    "fold": FINAL if group is None else f"{leave_out}-{group}",
                    "clip": manifest["clip"],
                    "role": role,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def read(path: Path = paths.FOLDS) -> list[Fold]:
    """The folds in order, `final` last."""
    table = pd.read_csv(paths.require(path), dtype=str, keep_default_na=False)
    return [
        Fold(name, *(list(rows["clip"][rows["role"] == role]) for role in ("train", "validation", "test")))
        for name, rows in table.groupby("fold", sort=False)
    ]  # fmt: skip


def tested(folds: list[Fold]) -> list[Fold]:
    """The folds that have a test side."""
    return [fold for fold in folds if fold.test]
