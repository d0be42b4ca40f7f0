"""Accuracy behind the device's front end: the same clips, the fold's own model, the same scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile
from test_int8 import ptq

from pipeline import paths
from pipeline.audio.front_end import features
from pipeline.dataset import Dataset
from pipeline.mcu import accuracy
from pipeline.mcu.accuracy import Models
from pipeline.mcu.front_end import CHAINS
from pipeline.mcu.robustness import CONDITIONS
from pipeline.params import Params
from pipeline.scoring import scores
from pipeline.tflite.int8 import Int8Model

SR, CLIPS = 16000, 12


@pytest.fixture
def data(toy: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Clips of glides and noise, whose labels are what the model says of them: all but one right."""
    monkeypatch.chdir(tmp_path)
    paths.CLIPS.mkdir(parents=True)
    rng = np.random.default_rng(0)
    t = np.arange(SR) / SR
    x = []
    for clip in range(CLIPS):
        y = 0.3 * np.sin(2 * np.pi * (150 + 40 * clip + 300 * t) * t) + 0.03 * rng.standard_normal(SR)  # fmt: skip
        y = (np.rint(y * 32768) / 32768).astype(np.float32)
        wavfile.write(paths.CLIPS / f"c{clip:02}.wav", SR, y)
        x.append(features(y, 1.0, SR, toy.features))
    stacked = np.array(x)[..., np.newaxis]
    said = Int8Model(ptq()).run(stacked).argmax(axis=1)
    y = said.copy()
    y[0] = (y[0] + 1) % 5
    ids = [f"c{clip:02}" for clip in range(CLIPS)]
    return Dataset(ids, stacked, y, list("abcde"), ["s"] * CLIPS)


@pytest.fixture
def models() -> Models:
    return Models([ptq(), ptq()], [list(range(6)), list(range(6, CLIPS))])


def test_each_front_end_is_scored_on_the_same_clips(
    data: Dataset, models: Models, toy: Params
) -> None:
    table = accuracy.by_front_end(data, models, 1.0, SR, toy.features)
    assert list(table) == ["librosa", *CHAINS]
    assert table["librosa"]["wa"] == pytest.approx(100 * (CLIPS - 1) / CLIPS, abs=0.01)
    assert table["cmsis_f32"]["largest_difference"] < 0.05
    assert table["cmsis_f32"]["ua"] == table["librosa"]["ua"]
    # The negative control: 16 bits are not enough, and the table shows it.
    assert table["cmsis_q15"]["mean_difference"] > 10 * table["cmsis_f32"]["mean_difference"]


def test_a_clip_is_told_by_the_model_of_its_own_fold(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bytes, int]] = []

    def classes(content: bytes, x: np.ndarray, reference: bool) -> np.ndarray:
        asked.append((content, len(x)))
        return np.full(len(x), len(asked))

    monkeypatch.setattr(accuracy, "_classes", classes)
    monkeypatch.setattr(accuracy.workers, "cpu_count", lambda: 1)
    said = Models([b"one", b"two"], [[0, 2], [1]]).classes(data.x, reference=True)
    assert asked == [(b"one", 2), (b"two", 1)]
    assert list(said[:4]) == [1, 2, 1, -1]


def test_each_condition_reaches_the_models_and_says_what_it_is(
    data: Dataset, models: Models, toy: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[np.ndarray] = []
    monkeypatch.setattr(Models, "classes", lambda self, x, reference: heard.append(x) or data.y)
    table = accuracy.by_condition(data, models, CHAINS["cmsis_f32"], 1.0, SR, toy.features)
    assert list(table) == list(CONDITIONS)
    assert {"gain_up", "gain_down", "noise_20db", "noise_10db", "clipping", "shift"} <= set(table)
    assert all(row["description"] for row in table.values())
    x = dict(zip(CONDITIONS, heard, strict=True))
    changed = {name: np.abs(x[name] - x["clean"]).mean() for name in x}
    assert changed["gain_down"] < 0.2  # levelled away, up to the steps of int16
    assert changed["noise_20db"] < changed["noise_10db"]
    assert min(changed[name] for name in ("noise_20db", "clipping", "shift")) > changed["gain_down"]


def test_the_scores_are_those_of_the_tables(
    data: Dataset, models: Models, toy: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    summary: Callable[..., dict[str, float]] = scores.summary
    monkeypatch.setattr(scores, "summary", lambda a, b: seen.append(len(a)) or summary(a, b))
    accuracy.by_front_end(data, models, 1.0, SR, toy.features)
    assert seen == [CLIPS] * (1 + len(CHAINS))
