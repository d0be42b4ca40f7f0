"""IEMOCAP, on a tree made in exactly its layout: the corpus itself is licensed."""

from pathlib import Path

import pytest

from pipeline import corpora
from pipeline.errors import CorpusError


def test_the_four_classes_of_both_kinds_of_scene_are_found(iemocap: Path, tmp_path: Path) -> None:
    clips = corpora.find("iemocap", iemocap, tmp_path)
    # Five emotions of seven count, in 5 sessions × 2 actors × 2 dialogs × 2 speakers.
    assert len(clips) == 5 * 40
    counts = {
        label: sum(clip.label == label for clip in clips) for label in corpora.labels("iemocap")
    }
    assert counts == {"anger": 40, "happiness": 80, "neutral": 40, "sadness": 40}


def test_the_speaker_is_in_the_last_part_and_not_in_the_dialogs_name(
    iemocap: Path, tmp_path: Path
) -> None:
    clips = {clip.id: clip for clip in corpora.find("iemocap", iemocap, tmp_path)}
    man = clips["Ses01F_impro01_M003"]
    assert (man.speaker, man.session, man.paper_key) == ("1M", "1", "Ses01F")
    assert man.source == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M003.wav"
    assert clips["Ses05M_script01_1b_F000"].speaker == "5F"
    assert len({clip.speaker for clip in clips.values()}) == 10


@pytest.mark.parametrize(
    ("subset", "clips"), [("all", 200), ("improvised", 100), ("scripted", 100)]
)
def test_a_subset_is_one_kind_of_scene(
    iemocap: Path, tmp_path: Path, subset: str, clips: int
) -> None:
    found = corpora.find("iemocap", iemocap, tmp_path, subset)
    assert len(found) == clips
    if subset != "all":
        assert {"impro" in clip.id for clip in found} == {subset == "improvised"}


def test_an_unknown_subset_lists_the_known_ones(iemocap: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="expected one of all, improvised, scripted"):
        corpora.find("iemocap", iemocap, tmp_path, "imporvised")


def test_where_it_is_not_the_expected_tree_is_printed(iemocap: Path, tmp_path: Path) -> None:
    (iemocap / "Session3").rename(tmp_path / "elsewhere")
    with pytest.raises(CorpusError) as caught:
        corpora.find("iemocap", iemocap, tmp_path)
    said = str(caught.value)
    assert "2 of 10 folders are not there" in said
    assert "Session3/dialog/EmoEvaluation" in said
    assert f"{iemocap}/\n    Session1/\n      dialog/EmoEvaluation/Ses01F_impro01.txt" in said


def test_a_turn_without_its_recording_is_named(iemocap: Path, tmp_path: Path) -> None:
    gone = iemocap / "Session2/sentences/wav/Ses02M_impro01/Ses02M_impro01_F001.wav"
    gone.unlink()
    with pytest.raises(
        CorpusError, match=r"1 turns have a label but no recording.*Ses02M_impro01_F001"
    ):
        corpora.find("iemocap", iemocap, tmp_path)


def test_lines_of_raters_and_comments_are_no_turns(iemocap: Path) -> None:
    from pipeline.corpora.iemocap import read_evaluation

    turns = read_evaluation(iemocap / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt")
    assert len(turns) == 14
    assert turns["Ses01F_impro01_F001"] == "hap"
