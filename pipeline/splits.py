"""Which clips train, choose and test in each fold."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sklearn.model_selection import GroupKFold

from pipeline import paths
from pipeline.errors import SplitError
from pipeline.params import Split

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


# How folds are made, and how that is said wherever a score is printed.
KINDS = {
    "speaker": "leave one speaker out",
    "session": "leave one session out",
    "speaker_groups": "k folds of speakers",
    "paper": "the paper's keys, speakers may stand on both sides",
}


def kind_of(manifest: pd.DataFrame, p: Split) -> str:
    """`p.leave_out`, with `auto` resolved.

    Sessions where every clip names one and no speaker is in two of them, else speakers.
    """
    if p.leave_out != "auto":
        return p.leave_out
    sessions = manifest["session"]
    named = (sessions != "").all() and len(set(sessions)) > 1
    apart = (manifest.groupby("speaker")["session"].nunique() < 2).all()
    return "session" if named and apart else "speaker"


def _keys(manifest: pd.DataFrame, kind: str, folds: int) -> pd.Series:
    """What divides the clips: clips of one key are tested in the same fold."""
    if kind == "speaker_groups":
        speakers = manifest["speaker"]
        if speakers.nunique() < folds:
            raise SplitError(
                f"{speakers.nunique()} speaker(s) in the corpus, split.folds={folds} needs at least as many: "
                "lower it, or add speakers"
            )
        keys = pd.Series("", index=manifest.index)
        width = len(str(folds))
        groups = GroupKFold(folds).split(manifest, groups=speakers)
        for number, (_, test) in enumerate(groups, 1):
            keys.iloc[test] = f"{number:0{width}}"
        return keys
    keys = manifest["paper_key" if kind == "paper" else kind]
    if (keys == "").any():
        clip = manifest["clip"][keys == ""].iloc[0]
        raise SplitError(
            f"split.leave_out is {kind}, but clip {clip} has no {kind}; name it in the corpus or set split.leave_out to speaker"
        )
    return keys


def _check_enough(found: int, kind: str, p: Split) -> None:
    """SplitError where `found` keys cannot be tested, trained and, if asked for, chosen by."""
    needed = 3 if p.inner_validation else 2
    if found >= needed:
        return
    if kind == "speaker_groups":
        raise SplitError(f"split.folds is {found}, split.inner_validation needs 3: raise it")
    name = "key" if kind == "paper" else kind
    more = "set split.leave_out to speaker" if kind == "session" else "add another speaker"
    if p.inner_validation:
        needs = f"split.leave_out={kind} with split.inner_validation needs at least 3"
        more += ", or set split.inner_validation to false" if found == 2 else ""
    else:
        needs = f"split.leave_out={kind} needs at least 2"
    raise SplitError(f"{found} {name}(s) in the corpus, {needs}: {more}")


def make(manifest: pd.DataFrame, p: Split) -> pd.DataFrame:
    """Divide the clips into folds.

    Each speaker, session, group of speakers or key of the paper is the test side of one fold. With
    `inner_validation`, the next one in order is kept out of that fold's training to choose the
    epoch. The fold `final` trains on all clips.

    Parameters
    ----------
    manifest : columns clip, speaker, session, paper_key
    p : `paper` repeats the folds of the reference implementation; on IEMOCAP its key names the
        session and who wears the markers, while both actors speak, so that a speaker's clips stand on
        both sides

    Returns
    -------
    DataFrame with the columns fold, clip, role (train, validation, test)

    Raises
    ------
    SplitError
        There are too few speakers or sessions, or clips without one.
    """
    kind = kind_of(manifest, p)
    keys = _keys(manifest, kind, p.folds)
    groups = sorted(keys.unique())
    _check_enough(len(groups), kind, p)
    parts = []
    for number, group in enumerate([*groups, None]):
        role = pd.Series("train", index=manifest.index)
        if p.inner_validation and group is not None:
            role[keys == groups[(number + 1) % len(groups)]] = "validation"
        role[keys == group] = "test"
        parts.append(
            pd.DataFrame(
                {
                    "fold": FINAL if group is None else f"{kind}-{group}",
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
