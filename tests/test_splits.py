"""Folds: who is tested, who trains, and the leak of the paper's keys."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_validate import BY_SPEAKER, rows_of

from pipeline import corpora, splits
from pipeline.errors import SplitError
from pipeline.params import Params, Split
from pipeline.quality import facts


def by(**changes: object) -> Split:
    return BY_SPEAKER.model_copy(update=changes)


def speakers_on_both_sides(rows: pd.DataFrame, folds: pd.DataFrame) -> int:
    speaker = rows.set_index("clip")["speaker"]
    return sum(
        not set(speaker[part["clip"][part["role"] == "train"]]).isdisjoint(
            speaker[part["clip"][part["role"] == "test"]]
        )
        for name, part in folds.groupby("fold")
        if name != splits.FINAL
    )


def of_iemocap(folder: Path) -> pd.DataFrame:
    clips = corpora.find("iemocap", folder, folder)
    return pd.DataFrame(
        [
            {
                "clip": c.id, "label": c.label, "speaker": c.speaker, "session": c.session, "paper_key": c.paper_key,
                "seconds": 1.0, "sha256": c.id,
            }
            for c in clips
        ]
    )  # fmt: skip


def test_every_clip_is_tested_once_and_never_trained_in_that_fold(
    sounds: dict[str, np.ndarray], tmp_path: Path
) -> None:
    rows = rows_of(sounds)
    splits.make(rows, by(inner_validation=True)).to_csv(tmp_path / "folds.csv", index=False)
    folds = splits.read(tmp_path / "folds.csv")
    assert [fold.name for fold in folds] == ["speaker-a", "speaker-b", "speaker-c", "final"]
    assert sorted(clip for fold in folds for clip in fold.test) == sorted(rows["clip"])
    for fold in folds:
        assert {clip[0] for clip in fold.validation}.isdisjoint({clip[0] for clip in fold.train})
        assert len({clip[0] for clip in fold.validation}) == (fold.name != "final")
        assert len(fold.train + fold.validation + fold.test) == len(rows)


def test_a_speaker_called_final_is_a_speaker(sounds: dict[str, np.ndarray], tmp_path: Path) -> None:
    rows = rows_of(sounds).replace({"speaker": {"c": "final"}})
    splits.make(rows, BY_SPEAKER).to_csv(tmp_path / "folds.csv", index=False)
    folds = splits.read(tmp_path / "folds.csv")
    assert [fold.name for fold in folds] == ["speaker-a", "speaker-b", "speaker-final", "final"]
    assert [len(fold.test) for fold in folds] == [2, 2, 2, 0]


def test_too_few_speakers_and_missing_sessions_are_said(sounds: dict[str, np.ndarray]) -> None:
    rows = rows_of(sounds)
    with pytest.raises(SplitError, match="needs at least 2"):
        splits.make(rows[rows["speaker"] == "a"], BY_SPEAKER)
    with pytest.raises(SplitError, match="has no session"):
        splits.make(rows, by(leave_out="session"))


def test_auto_leaves_out_sessions_where_every_clip_names_one(
    sounds: dict[str, np.ndarray], iemocap: Path
) -> None:
    assert splits.kind_of(rows_of(sounds), by(leave_out="auto")) == "speaker"
    rows = of_iemocap(iemocap)
    assert splits.kind_of(rows, by(leave_out="auto")) == "session"
    folds = splits.make(rows, by(leave_out="auto"))
    assert sorted(set(folds["fold"])) == ["final", *(f"session-{n}" for n in range(1, 6))]
    assert speakers_on_both_sides(rows, folds) == 0


def test_auto_leaves_out_speakers_where_one_comes_back_in_another_session(
    sounds: dict[str, np.ndarray],
) -> None:
    rows = rows_of(sounds)
    apart = rows.assign(session=rows["speaker"].map({"a": "mon", "b": "mon", "c": "tue"}))
    assert splits.kind_of(apart, by(leave_out="auto")) == "session"
    back = rows.assign(session=rows["label"].map({"glad": "mon", "sad": "tue"}))
    assert splits.kind_of(back, by(leave_out="auto")) == "speaker"
    assert speakers_on_both_sides(back, splits.make(back, by(leave_out="auto"))) == 0
    assert splits.kind_of(back, by(leave_out="session")) == "session"


@pytest.mark.parametrize(
    ("speakers", "changes", "said"),
    [
        ("a", {}, "1 speaker(s) in the corpus, split.leave_out=speaker needs at least 2: add another speaker"),
        ("ab", {"inner_validation": True}, "needs at least 3: add another speaker, or set split.inner_validation to false"),
        ("abc", {"leave_out": "session"}, "1 session(s) in the corpus, split.leave_out=session needs at least 2: set split.leave_out to speaker"),
        ("a", {"leave_out": "paper"}, "1 key(s) in the corpus, split.leave_out=paper needs at least 2: add another speaker"),
        ("abc", {"leave_out": "speaker_groups", "folds": 2, "inner_validation": True}, "split.folds is 2, split.inner_validation needs 3: raise it"),
        ("abc", {"leave_out": "speaker_groups", "folds": 4}, "3 speaker(s) in the corpus, split.folds=4 needs at least as many: lower it"),
    ],
)  # fmt: skip
def test_too_few_to_divide_is_said_with_what_to_do(
    sounds: dict[str, np.ndarray], speakers: str, changes: dict[str, object], said: str
) -> None:
    rows = rows_of(sounds).assign(session="mon")
    with pytest.raises(SplitError) as caught:
        splits.make(rows[rows["speaker"].isin(list(speakers))], by(**changes))
    assert said in str(caught.value)


def test_the_papers_keys_leave_speakers_on_both_sides_and_that_is_counted(
    iemocap: Path, toy: Params
) -> None:  # fmt: skip
    rows = of_iemocap(iemocap)
    folds = splits.make(rows, by(leave_out="paper"))
    assert "paper-Ses01F" in set(folds["fold"])
    assert len(set(folds["fold"])) == 11
    # Both actors speak in each dialog, so that every fold's speakers are trained on as well.
    assert speakers_on_both_sides(rows, folds) == 10
    found = facts.of_folds(rows, folds)
    assert (found["shared_speakers"] > 0).sum() == 10
    assert "both sides" in splits.KINDS["paper"]


def test_groups_of_speakers_test_every_clip_once_and_share_no_speaker(
    sounds: dict[str, np.ndarray],
) -> None:
    rows = rows_of(sounds)
    folds = splits.make(rows, by(leave_out="speaker_groups", folds=2))
    tested = folds[folds["role"] == "test"]
    assert sorted(tested["clip"]) == sorted(rows["clip"])
    assert sorted(set(tested["fold"])) == ["speaker_groups-1", "speaker_groups-2"]
    assert speakers_on_both_sides(rows, folds) == 0
    with pytest.raises(SplitError, match=r"3 speaker\(s\) in the corpus, split.folds=4"):
        splits.make(rows, by(leave_out="speaker_groups", folds=4))
