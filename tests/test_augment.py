"""Augmentation of cached features, against the features of sounds that really differ so."""

import numpy as np
import pytest

from pipeline.audio import spectra
from pipeline.models import augment
from pipeline.params import Augment, Features, Params

RATE, HOP = 16000, 256 / 16000
NOTHING = {
    "time_shift": 0.0, "speed": 0.0, "vocal_tract": 0.0, "gain_db": 0.0,
    "noise_share": 0.0, "noise_snr_db": [10.0, 10.0], "time_masks": 0, "time_mask_seconds": 0.3,
    "frequency_masks": 0, "frequency_mask_share": 0.2, "mixup": 0.0,
}  # fmt: skip
EVERYTHING = {
    "time_shift": 0.2, "speed": 0.2, "vocal_tract": 0.2, "gain_db": 6.0, "noise_share": 0.5,
    "time_masks": 2, "frequency_masks": 2, "mixup": 0.3,
}  # fmt: skip


@pytest.fixture(params=["mfcc", "liftered", "log_mel"])
def features(request: pytest.FixtureRequest, toy: Params) -> Features:
    """Both kinds with a mel axis; as many coefficients as bands and no limit, so that nothing is lost."""
    kinds = (
        {"kind": "mfcc", "lifter": 64} if request.param == "liftered" else {"kind": request.param}
    )
    return toy.features.model_copy(update={"n_mels": 64, "n_mfcc": 64, "clip": 1e4} | kinds)


def changed(x: np.ndarray, features: Features, seed: int = 0, **changes: object) -> np.ndarray:
    """Augmented copies of `x` [shape=(clips, frames, bins)]."""
    p = Augment(**{**NOTHING, **changes})
    y = np.eye(len(x), 3, dtype=np.float32)
    rng = np.random.default_rng(seed)
    return augment.clips(x[..., np.newaxis], y, p, features, HOP, rng)[0][..., 0]


def of(sound: np.ndarray, p: Features, copies: int = 1) -> np.ndarray:
    return np.stack([spectra.features(sound.astype(np.float32), RATE, p)] * copies)


def log_mel(x: np.ndarray, p: Features) -> np.ndarray:
    """Back to the bands by the DCT's definition, one term at a time."""
    if p.kind == "log_mel":
        return x
    n = np.arange(64)
    x = x / (1 + p.lifter / 2 * np.sin(np.pi * n / 64))
    rows = [np.cos(np.pi * k * (2 * n + 1) / 128) * (0.5 if k == 0 else 1) for k in range(64)]
    return x @ np.array(rows) * np.sqrt(2 / 64)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)


def peak(x: np.ndarray, p: Features) -> np.ndarray:
    """The loudest band of each clip."""
    return log_mel(x, p).mean(axis=1).argmax(axis=1)


def test_zeros_leave_clips_and_labels_as_they_are(features: Features) -> None:
    x = of(tone(440), features, 3)[..., np.newaxis]
    y = np.eye(3, dtype=np.float32)
    rng = np.random.default_rng(0)
    same_x, same_y = augment.clips(x, y, Augment(**NOTHING), features, HOP, rng)
    np.testing.assert_array_equal(same_x, x)
    np.testing.assert_array_equal(same_y, y)


def test_the_draw_follows_from_the_generator_and_the_cached_clips_stay(features: Features) -> None:
    x = of(np.random.default_rng(1).standard_normal(RATE) * 0.1, features, 4)
    before = x.copy()
    one = changed(x, features, seed=3, **EVERYTHING)
    np.testing.assert_array_equal(one, changed(x, features, seed=3, **EVERYTHING))
    assert not np.allclose(one, changed(x, features, seed=4, **EVERYTHING))
    np.testing.assert_array_equal(x, before)
    assert one.dtype == np.float32


def test_another_vocal_tract_moves_a_tone_as_far_as_a_tone_that_is_higher(
    features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = np.array([0.8, 0.9, 1.0, 1.15, 1.25])
    monkeypatch.setattr(augment, "_around_one", lambda most, n, rng: factors)
    moved = peak(changed(of(tone(1000), features, 5), features, vocal_tract=0.25), features)
    real = [peak(of(tone(1000 * factor), features), features)[0] for factor in factors]
    np.testing.assert_allclose(moved, real, atol=1)
    assert len(set(real)) == 5


def test_factors_lie_around_one_evenly(features: Features) -> None:
    factors = augment._around_one(0.25, 4000, np.random.default_rng(0))
    assert 0.8 <= factors.min() < 0.81 and 1.24 < factors.max() <= 1.25
    assert np.log(factors).mean() == pytest.approx(0, abs=0.01)


def test_gain_is_that_of_a_louder_sound(
    features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.random.default_rng(0).standard_normal(RATE) * 0.05
    louder = of(2 * sound, features)  # 6.02 dB

    class Up:
        @staticmethod
        def uniform(low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
            return np.full(shape, high)

    p = Augment(**{**NOTHING, "gain_db": 20 * np.log10(2)})
    x = of(sound, features)[..., np.newaxis]
    found = augment.clips(x, np.ones((1, 1)), p, features, HOP, Up)[0][..., 0]  # type: ignore[arg-type]
    # Not to the last digit: the offset under the logarithm is not louder.
    np.testing.assert_allclose(found, louder, atol=2e-3 * np.abs(louder).max())
    assert np.abs(louder - of(sound, features)).max() > 0.5


def test_a_faster_clip_has_shorter_sounds_of_the_same_pitch(
    features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    burst = np.zeros(2 * RATE)
    burst[RATE // 2 : 3 * RATE // 2] = tone(440)  # one second in the middle
    monkeypatch.setattr(augment, "_around_one", lambda most, n, rng: np.array([1.25, 0.8]))
    x = of(burst, features, 2)
    found = changed(x, features, speed=0.25)
    frames = [int((row > row.mean()).sum()) for row in log_mel(found, features).max(axis=2)]
    np.testing.assert_allclose(frames, [0.8 / HOP, 1.25 / HOP], atol=5)
    assert peak(found, features).tolist() == peak(x, features).tolist()


def test_a_shift_moves_the_whole_clip_no_further_than_asked(features: Features) -> None:
    sound = np.zeros(2 * RATE)
    sound[RATE : RATE + 400] = 0.5  # a click in the middle
    x = of(sound, features, 200)
    loud = log_mel(changed(x, features, time_shift=0.32), features).mean(axis=2).argmax(axis=1)
    moved = loud - log_mel(x, features).mean(axis=2).argmax(axis=1)
    assert abs(moved).max() == 20  # 0.32 s of 16 ms
    assert len(set(moved)) > 30


def test_noise_fills_the_gaps_at_the_ratio_asked_for(features: Features) -> None:
    sound = np.zeros(2 * RATE)
    sound[:RATE] = np.random.default_rng(0).standard_normal(RATE) * 0.1
    x = of(sound, features, 400)
    found = log_mel(changed(x, features, noise_share=0.5), features)
    before = log_mel(x, features)
    noisy = np.abs(found - before).max(axis=(1, 2)) > 0.1
    assert 0.4 < noisy.mean() < 0.6
    loud = before[0].mean(axis=1).max()
    gap = found[noisy][:, 80:].mean()  # of the silent second
    assert (loud - gap) * 20 / np.log(10) == pytest.approx(10, abs=1)
    np.testing.assert_allclose(found[~noisy], before[~noisy], atol=1e-3)


def test_masks_blank_a_stretch_no_wider_than_asked(features: Features) -> None:
    x = of(np.random.default_rng(0).standard_normal(2 * RATE) * 0.1, features, 100)
    in_time = np.abs(changed(x, features, time_masks=1) - x).max(axis=2) > 1e-6
    widths = in_time.sum(axis=1)
    assert widths.max() == round(0.3 / HOP) and widths.min() <= 1
    in_frequency = np.abs(log_mel(changed(x, features, frequency_masks=1), features) - log_mel(x, features))  # fmt: skip
    bands = (in_frequency.max(axis=1) > 1e-3).sum(axis=1)
    assert bands.max() == round(0.2 * 64) and bands.min() <= 1


def test_mixed_clips_have_labels_in_the_same_shares(features: Features) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 6, 5, 1))
    y = np.eye(50)
    p = Augment(**{**NOTHING, "mixup": 0.4})
    mixed_x, mixed_y = augment.clips(x, y, p, features, HOP, rng)
    np.testing.assert_allclose(mixed_y.sum(axis=1), 1, rtol=1e-6)
    # The labels are one-hot by clip: they say which clips went in, and how much of each.
    np.testing.assert_allclose(mixed_x, np.einsum("ij,jtfc->itfc", mixed_y, x), atol=1e-5)
    assert (mixed_y.diagonal() >= 0.5).all()
    assert (mixed_y.diagonal() < 0.95).any()


def test_limited_coefficients_stay_limited_and_an_untouched_clip_is_not_changed(
    toy: Params,
) -> None:
    x = of(tone(440), toy.features, 20)
    assert np.abs(x).max() == toy.features.clip
    found = changed(x, toy.features, noise_share=0.5)
    assert np.abs(found).max() <= toy.features.clip
    untouched = np.abs(found - x).max(axis=(1, 2)) < 1e-4
    assert 0.2 < untouched.mean() < 0.8
