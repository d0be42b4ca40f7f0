"""Corpora: what is found, and what is said where it is not as it should be."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import CORPORA

from pipeline import corpora
from pipeline.corpora import emodb
from pipeline.errors import CorpusError


def test_emodb_names_give_speaker_and_label(emodb_folder: Path, tmp_path: Path) -> None:
    clips = corpora.find("emodb", emodb_folder, tmp_path)
    assert [(clip.id, clip.speaker, clip.label) for clip in clips] == [
        ("03a01Fa", "03", "happiness"),
        ("03a01Wa", "03", "anger"),
        ("08a01Fa", "08", "happiness"),
        ("08a01Wa", "08", "anger"),
    ]
    assert clips[0].source == "wav/03a01Fa.wav"


def test_the_seven_letters_are_the_databases_own() -> None:
    # Of the database's own description: Ärger (Wut), Langeweile, Ekel, Angst, Freude, Trauer, Neutral.
    assert emodb.EMOTIONS == {
        "W": "anger", "L": "boredom", "E": "disgust", "A": "fear",
        "F": "happiness", "T": "sadness", "N": "neutral",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["emodb", "csv", "ravdess"])
def test_what_a_mac_leaves_beside_each_file_is_passed_over(
    emodb_folder: Path, ravdess: Path, table: Path, tmp_path: Path, name: str
) -> None:
    folder = {"emodb": emodb_folder, "csv": table.parent, "ravdess": ravdess}[name]
    before = corpora.find(name, folder, tmp_path)
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        file.with_name(f"._{file.name}").write_bytes(b"\x00\x05\x16\x07")
    assert corpora.find(name, folder, tmp_path) == before


@pytest.mark.parametrize("name", ["emodb", "ravdess"])
def test_a_recordings_ending_may_be_in_capitals(
    emodb_folder: Path, ravdess: Path, tmp_path: Path, name: str
) -> None:
    folder = {"emodb": emodb_folder, "ravdess": ravdess}[name]
    before = corpora.find(name, folder, tmp_path)
    for file in list(folder.rglob("*.wav")):
        file.rename(file.with_suffix(".WAV"))
    renamed = corpora.find(name, folder, tmp_path)
    assert [clip.id for clip in renamed] == [clip.id for clip in before]
    assert all(clip.file.is_file() for clip in renamed)


def test_an_unknown_emotion_letter_is_named(emodb_folder: Path, tmp_path: Path) -> None:
    (emodb_folder / "wav" / "03a01Fa.wav").rename(emodb_folder / "wav" / "03a01Xa.wav")
    with pytest.raises(CorpusError, match=r"03a01Xa\.wav: unknown emotion letter 'X'"):
        corpora.find("emodb", emodb_folder, tmp_path)


def test_a_name_outside_the_scheme_is_named(emodb_folder: Path, tmp_path: Path) -> None:
    (emodb_folder / "wav" / "03a01Fa.wav").rename(emodb_folder / "wav" / "joyful.wav")
    with pytest.raises(CorpusError, match=r"1 of 4 files.*joyful\.wav: not a name"):
        corpora.find("emodb", emodb_folder, tmp_path)


@pytest.mark.parametrize("name", ["emodb", "csv", "demo", "iemocap", "ravdess"])
def test_a_corpus_that_is_not_there_says_where_it_was_looked_for(name: str, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(CorpusError, match=r"corpus\.path") as caught:
        corpora.find(name, nowhere, tmp_path)
    assert str(nowhere) in str(caught.value)
    first, *tree = str(caught.value).splitlines()
    assert (tree != []) == first.endswith("expected as")  # the tree, where there is one to show


@pytest.fixture
def ravdess(tmp_path: Path, tone: np.ndarray) -> Path:
    """Speech and song of two actors, as the database names its files."""
    folder = tmp_path / "RAVDESS"
    for actor in ("01", "24"):
        (folder / f"Actor_{actor}").mkdir(parents=True)
        for name in ("03-01-06-01-02-01", "03-01-06-02-02-01", "03-01-08-01-01-02", "03-02-03-01-01-01"):  # fmt: skip
            soundfile.write(folder / f"Actor_{actor}" / f"{name}-{actor}.wav", tone, 16000)
    return folder


def test_ravdess_names_give_speaker_and_label_and_songs_are_left_out(
    ravdess: Path, tmp_path: Path
) -> None:
    clips = corpora.find("ravdess", ravdess, tmp_path)
    assert [(clip.id, clip.speaker, clip.label) for clip in clips[:3]] == [
        ("03-01-06-01-02-01-01", "01", "fear"),
        ("03-01-06-01-02-01-24", "24", "fear"),
        ("03-01-06-02-02-01-01", "01", "fear"),
    ]
    assert len(clips) == 6
    strong = corpora.find("ravdess", ravdess, tmp_path, "strong")
    assert [clip.id for clip in strong] == ["03-01-06-02-02-01-01", "03-01-06-02-02-01-24"]


def test_ravdess_eight_emotions_are_the_databases_own() -> None:
    from pipeline.corpora import ravdess as module

    assert list(module.EMOTIONS.values()) == [
        "neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise",
    ]  # fmt: skip


def test_a_file_that_is_not_ravdess_is_named(ravdess: Path, tmp_path: Path) -> None:
    (ravdess / "Actor_01" / "03-01-06-01-02-01-01.wav").rename(ravdess / "03-01-09-01-02-01-01.wav")
    with pytest.raises(CorpusError, match=r"1 of 8 files.*03-01-09-01-02-01-01\.wav"):
        corpora.find("ravdess", ravdess, tmp_path)


def test_an_unknown_corpus_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="expected one of csv, demo, emodb, iemocap, ravdess;"):
        corpora.find("timit", tmp_path, tmp_path)


@pytest.fixture
def table(tmp_path: Path, tone: np.ndarray) -> Path:
    folder = tmp_path / "eigene Aufnahmen"
    (folder / "Müller").mkdir(parents=True)
    soundfile.write(folder / "Müller" / "eins zwei.wav", tone, 16000)
    soundfile.write(folder / "b.flac", -tone, 16000)
    file = folder / "clips.csv"
    file.write_text(
        "path,label,speaker\nMüller/eins zwei.wav,glad,Müller\nb.flac,sad,08\n", encoding="utf-8"
    )
    return file


@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_table_or_its_folder_names_the_clips(
    table: Path, tmp_path: Path, whole_folder: bool
) -> None:
    clips = corpora.find("csv", table.parent if whole_folder else table, tmp_path)
    assert [(clip.id, clip.label, clip.speaker) for clip in clips] == [
        ("Müller-eins zwei", "glad", "Müller"),
        ("b", "sad", "08"),
    ]


def test_a_table_with_excels_mark_of_utf8_is_read(table: Path, tmp_path: Path) -> None:
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert len(corpora.find("csv", table, tmp_path)) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("path,label,speaker", "path,label,who", "no column speaker; found path, label, who"),
        ("b.flac", "c.flac", r"1 of 2 files are not there: .*c\.flac"),
        ("b.flac,sad,08", "b.flac,,08", "no label in line 3"),
        ("b.flac,sad,08", "\n\nb.flac,,08", "no label in line 5"),
        ("b.flac", "c" * 300, "1 of 2 files are not there: .*ccc; paths are relative"),
        (
            "b.flac,sad,08",
            f"b.flac,sad,{'ü' * 101}",
            "speaker 'ü+' has 202 bytes, expected at most 200",
        ),
        ("b.flac,sad,08", "b.flac,sad,08,x", "line 3 has another number of fields"),
        ("b.flac,sad,08", "b.flac,sad", "line 3 has another number of fields"),
        ("b.flac,sad,08", "b.flac,sad,a/b", "speaker 'a/b' has a slash"),
        ("b.flac,sad,08", "Müller/eins zwei.wav,sad,08", "two recordings would be clip"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(
    table: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    table.write_text(table.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(CorpusError, match=said):
        corpora.find("csv", table, tmp_path)


@pytest.mark.parametrize(("length", "fits"), [(251, True), (252, False)])
def test_an_id_is_as_long_as_its_files_name_may_be(
    table: Path, tmp_path: Path, length: int, fits: bool
) -> None:
    folders = "d" * (length - 2)  # the id is the path with dashes
    (table.parent / folders).mkdir()
    soundfile.write(table.parent / folders / "b.flac", np.zeros(10), 16000)
    table.write_text(table.read_text("utf-8").replace("b.flac", f"{folders}/b.flac"), "utf-8")
    if fits:
        clip = corpora.find("csv", table, tmp_path)[-1]
        (tmp_path / f"{clip.id}.wav").touch()
        assert len(clip.id) == length
    else:
        with pytest.raises(
            CorpusError, match=r"has 252 bytes, expected at most 251; .* shorten it"
        ):
            corpora.find("csv", table, tmp_path)


@pytest.mark.skipif(not CORPORA.is_dir(), reason="no real recordings beside the project")
@pytest.mark.parametrize(("name", "clips", "classes"), [("emodb", 339, 4), ("emodb-2s", 535, 7)])
def test_the_real_corpora_are_found_whole(
    name: str, clips: int, classes: int, tmp_path: Path
) -> None:
    found = corpora.find("emodb", CORPORA / name, tmp_path)
    assert len(found) == clips
    assert len({clip.label for clip in found}) == classes
    assert len({clip.speaker for clip in found}) == 10
