"""Validate: each thing that can be wrong with the data breaks its own check and names the clips."""

import json
from collections.abc import Callable
from pathlib import Path

import great_expectations.expectations as gxe
import numpy as np
import pandas as pd
import pytest
from conftest import voice
from scipy.io import wavfile

from pipeline import manifest, splits, validate
from pipeline.errors import ValidationError
from pipeline.ingest import digest
from pipeline.params import Params, Split
from pipeline.quality import expectations, facts

BY_SPEAKER = Split(leave_out="speaker", folds=5, inner_validation=False)


def rows_of(sounds: dict[str, np.ndarray]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "clip": name, "source": name, "label": name[1:], "speaker": name[0], "session": "", "paper_key": name[0],
                "seconds": len(y) / 16000, "sha256": digest(y),
            }
            for name, y in sounds.items()
        ]
    )  # fmt: skip


def failures(
    sounds: dict[str, np.ndarray], toy: Params, labels: list[str] | None = None, rows: pd.DataFrame | None = None,
    folds: pd.DataFrame | None = None,
) -> dict[str, list[str]]:  # fmt: skip
    rows = rows_of(sounds) if rows is None else rows
    folds = splits.make(rows, BY_SPEAKER) if folds is None else folds
    clips = facts.of_clips(rows, sounds.__getitem__)
    results = validate.validate(clips, folds, toy.validation, labels)
    return {result.check: result.items for result in results if not result.success}


def test_good_data_breaks_nothing(sounds: dict[str, np.ndarray], toy: Params) -> None:
    assert failures(sounds, toy, ["glad", "sad"]) == {}


def test_an_unknown_label(sounds: dict[str, np.ndarray], toy: Params) -> None:
    assert failures(sounds, toy, ["glad", "angry"])["labels"] == ["asad", "bsad", "csad"]


def test_a_duplicate_recording_under_two_names(sounds: dict[str, np.ndarray], toy: Params) -> None:
    sounds["bsad"] = sounds["aglad"].copy()
    assert failures(sounds, toy) == {"duplicates": ["aglad", "bsad"]}


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("silent", lambda y: 0 * y),
        ("silent", lambda y: 1e-4 * y),
        ("clipped", lambda y: np.clip(20 * y, -1, 1)),
        ("finite", lambda y: np.where(np.arange(len(y)) == 7, np.nan, y)),
        ("finite", lambda y: np.where(np.arange(len(y)) == 7, np.inf, y)),
        ("seconds", lambda y: y[:4000]),
    ],
)
def test_a_bad_recording_breaks_its_check_alone(
    sounds: dict[str, np.ndarray],
    toy: Params,
    check: str,
    change: Callable[[np.ndarray], np.ndarray],
) -> None:
    sounds["bglad"] = change(sounds["bglad"]).astype(np.float32)
    assert failures(sounds, toy) == {check: ["bglad"]}


def test_a_class_of_one_speaker_leaves_its_fold_untrained(
    sounds: dict[str, np.ndarray], toy: Params
) -> None:
    sounds["cbored"] = voice(99)
    assert failures(sounds, toy) == {
        "speakers_per_class": ["bored"],
        "fold_classes": ["speaker-c"],
    }


def test_a_speaker_on_both_sides(sounds: dict[str, np.ndarray], toy: Params) -> None:
    rows = rows_of(sounds)
    folds = splits.make(rows, BY_SPEAKER)
    leak = (folds["fold"] == "speaker-b") & (folds["clip"] == "bsad")
    folds.loc[leak, "role"] = "train"
    assert failures(sounds, toy, rows=rows, folds=folds) == {"speaker_overlap": ["speaker-b"]}


def test_a_check_that_cannot_be_made_is_named() -> None:
    upside_down = gxe.ExpectColumnValuesToBeBetween(column="seconds", min_value=2, max_value=1)
    rows = pd.DataFrame({"clip": ["a"], "seconds": [1.0]})
    with pytest.raises(RuntimeError, match=r"check seconds: .*min_value"):
        expectations.check(rows, "clip", {"seconds": upside_down}, [])


@pytest.fixture
def ingested(
    sounds: dict[str, np.ndarray],
    write_params: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    def write(**changes: object) -> None:
        monkeypatch.chdir(write_params(corpus__name="csv", **changes).parent)
        Path("data/clips").mkdir(parents=True)
        for name, y in sounds.items():
            wavfile.write(f"data/clips/{name}.wav", 16000, y)
        manifest.write(rows_of(sounds), Path("data/manifest.csv"))

    return write


def test_an_error_stops_and_the_page_explains_it(
    sounds: dict[str, np.ndarray], ingested: Callable[..., None]
) -> None:
    sounds["asad"][:] = 0
    ingested()
    with pytest.raises(ValidationError, match=r"silent \(asad\)"):
        validate.main()
    assert not Path("data/folds.csv").exists()
    assert "asad" in Path("reports/validation.html").read_text("utf-8")
    assert json.loads(Path("reports/validation.json").read_text())["summary"]["errors"] == 1


def test_a_check_can_be_lowered_to_a_warning(
    sounds: dict[str, np.ndarray], ingested: Callable[..., None]
) -> None:
    sounds["asad"][:] = 0
    ingested(validate__warn=["silent"])
    validate.main()
    summary = json.loads(Path("reports/validation.json").read_text())["summary"]
    assert (summary["errors"], summary["warnings"]) == (0, 1)
    assert Path("data/folds.csv").is_file()


def test_sessions_that_share_speakers_are_told_what_to_set(
    sounds: dict[str, np.ndarray], ingested: Callable[..., None]
) -> None:
    ingested(split__leave_out="session")
    rows = rows_of(sounds)
    sessions = rows["clip"].map(lambda clip: "mon" if clip in ("aglad", "bglad", "asad") else "tue")
    manifest.write(rows.assign(session=sessions), Path("data/manifest.csv"))
    with pytest.raises(ValidationError, match=r"speaker_overlap \(.*Set split\.leave_out=speaker"):
        validate.main()


def test_the_page_escapes_what_the_corpus_says(
    sounds: dict[str, np.ndarray], ingested: Callable[..., None]
) -> None:
    sounds["a<script>"] = voice(55)
    ingested(validate__warn=["fold_classes", "speakers_per_class"])
    # A file name cannot hold a slash, so the tag needs none.
    validate.main()
    assert "<script>" not in Path("reports/validation.html").read_text("utf-8")
