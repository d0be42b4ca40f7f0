"""The demo corpus: speech, the same in every process, different where the recipe differs."""

import hashlib
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from scipy.io import wavfile

from pipeline.audio.espeak import synthesize
from pipeline.corpora import demo, emodb
from pipeline.errors import CorpusError

RECIPE = demo.read_recipe(ROOT / "data/corpora/demo")


def digests(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    synthesize(demo.utterances(RECIPE)[::5], folder)
    return folder


def test_it_has_four_speakers_and_each_says_every_emotion() -> None:
    names = [emodb.read_name(Path(said.name)) for said in demo.utterances(RECIPE)]
    assert len({speaker for speaker, _ in names}) >= 4
    assert len(set(Counter(names).values())) == 1
    assert {label for _, label in names} == set(emodb.EMOTIONS.values())


def test_each_clip_is_the_same_in_another_process_and_order(rendered: Path, tmp_path: Path) -> None:
    synthesize(demo.utterances(RECIPE)[::5][::-1], tmp_path)
    assert digests(tmp_path) == digests(rendered)


def test_no_two_clips_are_the_same(rendered: Path) -> None:
    assert len(set(digests(rendered).values())) == len(digests(rendered))


def periodicity(y: np.ndarray, rate: int) -> float:
    """How well loud pieces of 25 ms repeat themselves 2.5 to 20 ms later, from −1 to 1."""
    n = rate // 40
    starts = np.arange(0, len(y) - 2 * n, n)
    energy = np.array([np.sum(y[i : i + n] ** 2) for i in starts])
    best = []
    for start in starts[energy >= np.quantile(energy, 0.8)]:
        shifted = [y[start + lag : start + lag + n] for lag in range(rate // 400, rate // 50)]
        piece = y[start : start + n]
        best.append(max(piece @ s / (np.linalg.norm(piece) * np.linalg.norm(s)) for s in shifted))
    return float(np.median(best))


def test_it_is_speech_and_not_silence_or_noise(rendered: Path) -> None:
    for file in rendered.iterdir():
        rate, y = wavfile.read(file)
        y = y / 32768
        assert 0.5 < len(y) / rate < 15
        assert 0.01 < np.sqrt(np.mean(y**2)) < 0.5
        assert periodicity(y, rate) > 0.6, file.name
    noise = np.random.default_rng(0).standard_normal(22050)
    assert periodicity(noise, 22050) < 0.4


def test_the_rules_of_prosody_show_in_the_sound(tmp_path: Path) -> None:
    said = {emodb.read_name(Path(s.name))[1]: s for s in demo.utterances(RECIPE)[:7]}
    synthesize(list(said.values()), tmp_path)
    seconds = {
        label: len(wavfile.read(tmp_path / utterance.name)[1]) for label, utterance in said.items()
    }
    assert seconds["anger"] < seconds["neutral"] < seconds["sadness"]
    assert seconds["fear"] < seconds["neutral"] < seconds["boredom"]


def test_an_unknown_voice_is_one_line(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"speakers": {"51": "xx+nobody"}})
    with pytest.raises(CorpusError, match="no voice 'xx\\+nobody'"):
        synthesize(demo.utterances(recipe)[:1], tmp_path)


def test_a_process_that_dies_is_one_line_and_no_endless_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "espeakng_loader.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CorpusError, match=r"could not be made: .*terminated abruptly") as caught:
        synthesize(demo.utterances(RECIPE)[:3], tmp_path)
    assert "\n" not in str(caught.value)


def test_an_end_without_a_word_is_named_by_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(CorpusError, match="could not be made: its process ended with status 1"):
        synthesize(demo.utterances(RECIPE)[:1], tmp_path)
