"""Features: the paper's definition against tf.signal, and one computation for each new clip."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import tensorflow as tf
from conftest import CORPORA, voice
from scipy.io import wavfile
from test_validate import rows_of

from pipeline import features, manifest
from pipeline.audio import spectra
from pipeline.audio.cut import cut
from pipeline.audio.decode import decode
from pipeline.errors import AudioError
from pipeline.ingest import digest
from pipeline.params import Features, Params

SR = 16000


def reference(y: np.ndarray, p: Features) -> dict[str, np.ndarray]:
    """The paper's front end, written with tf.signal as the reference implementation does."""
    stft = tf.signal.stft(y, p.n_fft, p.hop_length, p.n_fft, window_fn=tf.signal.hann_window)
    magnitude = tf.abs(stft)
    matrix = tf.signal.linear_to_mel_weight_matrix(p.n_mels, p.n_fft // 2 + 1, SR, p.fmin, p.fmax)
    log_mel = tf.math.log(magnitude @ matrix + p.log_offset)
    mfcc = tf.signal.mfccs_from_log_mel_spectrograms(log_mel)[..., : p.n_mfcc]
    return {
        "spectrogram": magnitude.numpy(),
        "log_mel": log_mel.numpy(),
        "mfcc": np.clip(mfcc.numpy(), -p.clip, p.clip),
    }


@pytest.fixture(params=["noise", "voiced", "real"])
def clip(request: pytest.FixtureRequest) -> np.ndarray:
    if request.param == "noise":
        return cut(voice(3), 2 * SR)
    if request.param == "voiced":
        # Pulses at 120 Hz over faint noise: the harmonics of a voice, and no band without energy,
        # whose logarithm would be that of rounding errors.
        pulses = (np.arange(2 * SR) % (SR // 120) == 0).astype(np.float32)
        return cut(pulses + 0.01 * np.tile(voice(4), 2), 2 * SR)
    file = CORPORA / "emodb" / "wav" / "03a01Fa.wav"
    if not file.is_file():
        pytest.skip("no real recordings beside the project")
    return cut(decode(file, SR), 3 * SR)


# All that is left is the order of float32 sums, which the logarithm amplifies where a band is faint.
@pytest.mark.parametrize(("kind", "median", "largest"), [("spectrogram", 1e-5, 1e-3), ("log_mel", 1e-5, 2e-2), ("mfcc", 1e-5, 2e-2)])  # fmt: skip
def test_features_agree_with_tf_signal(
    clip: np.ndarray, toy: Params, kind: str, median: float, largest: float
) -> None:
    p = toy.features.model_copy(update={"kind": kind})
    ours, theirs = spectra.features(clip, SR, p), reference(clip, p)[kind]
    assert ours.shape == theirs.shape == (spectra.frames(len(clip), p), p.bins)
    assert ours.dtype == np.float32
    difference = np.abs(ours - theirs)
    assert np.median(difference) <= median
    assert difference.max() <= largest


def test_a_lifter_weighs_coefficients_as_librosas_which_counts_from_one(
    clip: np.ndarray, toy: Params
) -> None:
    p = toy.features.model_copy(update={"clip": 1e6})
    plain = spectra.features(clip, SR, p)
    ours = spectra.features(clip, SR, p.model_copy(update={"lifter": 80}))
    spectrum = np.eye(p.n_mels, dtype=np.float32)
    with_librosa = librosa.feature.mfcc(S=spectrum, n_mfcc=p.n_mfcc, lifter=80)
    weights = with_librosa[:, 0] / librosa.feature.mfcc(S=spectrum, n_mfcc=p.n_mfcc)[:, 0]
    np.testing.assert_array_equal(ours[:, 0], plain[:, 0])
    np.testing.assert_allclose(ours[:, 1:], plain[:, 1:] * weights[:-1], rtol=1e-4, atol=1e-4)
    by_hand = 1 + 40 * 2**-0.5  # sin(20π / 80)
    assert spectra.lifter(p.model_copy(update={"lifter": 80}))[20] == pytest.approx(by_hand)


def test_the_mel_bands_are_tf_signals_and_not_librosas(toy: Params) -> None:
    p = toy.features
    ours = spectra.mel_filters(SR, p.n_fft, p.n_mels, p.fmin, p.fmax)
    theirs = tf.signal.linear_to_mel_weight_matrix(p.n_mels, p.n_fft // 2 + 1, SR, p.fmin, p.fmax)
    np.testing.assert_allclose(ours, theirs.numpy().T, atol=3e-5)
    in_hertz = librosa.filters.mel(
        sr=SR, n_fft=p.n_fft, n_mels=p.n_mels, fmin=p.fmin, fmax=p.fmax, htk=True, norm=None
    )
    assert np.abs(ours - in_hertz).max() > 2e-3


def test_the_parity_check_notices_power_instead_of_magnitude(
    clip: np.ndarray, toy: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    stft = spectra.librosa.stft
    monkeypatch.setattr(spectra.librosa, "stft", lambda *a, **k: np.abs(stft(*a, **k)) ** 2)
    difference = np.abs(
        spectra.features(clip, SR, toy.features) - reference(clip, toy.features)["mfcc"]
    )
    assert np.median(difference) > 5e-3


@pytest.mark.parametrize(("seconds", "frames"), [(2, 122), (3, 184), (7, 434)])
def test_the_number_of_frames_is_the_papers(seconds: int, frames: int, toy: Params) -> None:
    assert spectra.frames(seconds * SR, toy.features) == frames


def test_a_long_clip_is_cut_around_its_centre() -> None:
    y = np.zeros(100, np.float32)
    y[45:55] = 1
    np.testing.assert_array_equal(cut(y, 10), np.ones(10))


def test_a_short_clip_is_padded_on_both_sides() -> None:
    np.testing.assert_array_equal(cut(np.full(3, 0.5, np.float32), 8), [0, 0, 1, 1, 1, 0, 0, 0])


def test_the_level_is_the_999th_permille_of_the_cut_clip() -> None:
    y = np.full(10000, 0.25, np.float32)
    y[5000] = -1.0  # one loud sample is clipped and does not set the level
    out = cut(y, 10000)
    assert out.min() == -1.0
    assert np.median(out) == 1.0


@pytest.mark.parametrize("y", [np.zeros(10), np.full(10, np.nan), np.zeros(0)])
def test_what_has_no_level_is_refused(y: np.ndarray) -> None:
    with pytest.raises(AudioError, match="expected speech"):
        cut(y.astype(np.float32), 10)


@pytest.fixture
def project_of(
    write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:  # fmt: skip
    monkeypatch.delenv("SERNET_CACHE", raising=False)

    def run(sounds: dict[str, np.ndarray], **changes: object) -> str:
        monkeypatch.chdir(write_params(**changes).parent)
        Path("data/clips").mkdir(parents=True, exist_ok=True)
        for name, y in sounds.items():
            wavfile.write(f"data/clips/{name}.wav", SR, y)
        manifest.write(rows_of(sounds), Path("data/manifest.csv"))
        features.main()
        return capsys.readouterr().out

    return run


def test_one_new_clip_costs_one_computation(project_of: Callable[..., str]) -> None:
    sounds = {f"{speaker}glad": voice(number) for number, speaker in enumerate("abc")}
    assert "3 computed, 0 from the cache" in project_of(sounds)
    before = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in Path("data/features").iterdir()}  # fmt: skip
    assert "0 computed, 3 from the cache" in project_of(sounds)
    sounds["dglad"] = voice(7)
    assert "1 computed, 3 from the cache" in project_of(sounds)
    sounds["aglad"] = voice(8)  # the same name, another recording
    assert "1 computed, 3 from the cache" in project_of(sounds)
    after = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in Path("data/features").iterdir()}  # fmt: skip
    assert before["bglad.npy"] == after["bglad.npy"]
    assert before["aglad.npy"] != after["aglad.npy"]


def test_another_parameter_is_another_computation(project_of: Callable[..., str]) -> None:
    sounds = {"aglad": voice(0)}
    assert "1 computed" in project_of(sounds)
    assert "1 computed" in project_of(sounds, features__n_mfcc=13)
    assert "0 computed" in project_of(sounds)


def test_a_clip_without_features_is_named(project_of: Callable[..., str]) -> None:
    with pytest.raises(AudioError, match="1 of 2 clips have no features: bglad"):
        project_of({"aglad": voice(0), "bglad": np.zeros(SR, np.float32)})
    assert not Path("data/features").exists()


def test_a_digest_tells_recordings_apart() -> None:
    assert digest(voice(0)) != digest(voice(1))
