"""Perturbations do what their names say, measured on the samples themselves."""

import numpy as np
import pytest

from pipeline.mcu.robustness import CONDITIONS, Condition, saturated

SR = 16000


@pytest.fixture
def x() -> np.ndarray:
    """Two seconds whose magnitudes are all different, peak at 6,000: int16 holds twice 12 dB of it."""
    rng = np.random.default_rng(0)
    y = np.sin(2 * np.pi * 200 * np.arange(2 * SR) / SR) * np.linspace(0.2, 1, 2 * SR)
    return np.rint(5800 * y + rng.normal(0, 40, len(y))).clip(-6000, 6000).astype(np.int16)


def power(y: np.ndarray) -> float:
    return float(np.mean(np.square(y.astype(float))))


def heard(name: str, x: np.ndarray, clip: str = "a") -> np.ndarray:
    out = CONDITIONS[name](x, clip, SR)
    assert out.dtype == np.int16
    return out


def test_clean_is_what_was_recorded(x: np.ndarray) -> None:
    np.testing.assert_array_equal(heard("clean", x), x)


@pytest.mark.parametrize(("name", "db"), [("gain_up", 12), ("gain_down", -12)])
def test_gain_changes_the_power_by_its_decibels(name: str, db: float, x: np.ndarray) -> None:
    assert 10 * np.log10(power(heard(name, x)) / power(x)) == pytest.approx(db, abs=0.01)


def test_gain_saturates_and_does_not_wrap_round() -> None:
    x = np.array([-10000, -8000, 8000, 10000], np.int16)
    np.testing.assert_array_equal(heard("gain_up", x), [-32768, -31849, 31849, 32767])
    assert (x.astype(np.int64) * 4).astype(np.int16)[0] > 0  # what a cast alone would do


def test_rounding_is_to_the_nearest_step() -> None:
    np.testing.assert_array_equal(saturated(np.array([0.6, -0.6, 4e4, -4e4])), [1, -1, 32767, -32768])  # fmt: skip


@pytest.mark.parametrize(("name", "snr"), [("noise_20db", 20), ("noise_10db", 10)])
def test_noise_is_white_and_as_strong_as_it_says(name: str, snr: float, x: np.ndarray) -> None:
    added = heard(name, x).astype(float) - x
    # The power of n samples of noise scatters by the factor 1 ± √(2/n), here 0.03 dB.
    assert 10 * np.log10(power(x) / power(added)) == pytest.approx(snr, abs=0.15)
    assert abs(np.corrcoef(added[1:], added[:-1])[0, 1]) < 0.03
    assert abs(np.corrcoef(added, x)[0, 1]) < 0.03


def test_the_measure_of_whiteness_notices_coloured_noise(x: np.ndarray) -> None:
    added = heard("noise_10db", x).astype(float) - x
    coloured = added[1:] + added[:-1]
    assert np.corrcoef(coloured[1:], coloured[:-1])[0, 1] > 0.4


def test_noise_saturates() -> None:
    loud = np.full(SR, 32767, np.int16)
    assert heard("noise_10db", loud).min() > -32768 / 2  # a sum that wraps would be negative
    assert (heard("noise_10db", loud) == 32767).mean() == pytest.approx(0.5, abs=0.02)


def test_clipping_limits_a_twentieth_of_the_samples(x: np.ndarray) -> None:
    out = heard("clipping", x)
    changed = out != x
    # The threshold is rounded to a step, and what lies on it does not change.
    assert changed.mean() == pytest.approx(0.05, abs=0.002)
    assert np.abs(out[changed]).min() == np.abs(out).max()
    assert np.abs(x[~changed]).max() <= np.abs(out).max()
    assert np.abs(x[changed]).min() > np.abs(out).max()


def test_clipping_of_the_most_negative_sample() -> None:
    x = np.full(100, -32768, np.int16)
    x[:94] = 5
    assert heard("clipping", x).min() == -32768  # 6 % lie at the threshold and none above it


def test_shift_moves_what_the_network_sees_by_up_to_half_a_second() -> None:
    rng = np.random.default_rng(1)
    x = np.zeros(SR, np.int16)
    x[SR // 2 - 1000 : SR // 2 + 1000] = rng.integers(-3000, 3000, 2000)
    shifts = []
    for clip in map(str, range(200)):
        y = heard("shift", x, clip)
        middle = np.pad(y, SR)[len(y) // 2 :][: 2 * SR]  # two seconds around the centre
        where = int(np.flatnonzero(middle)[0]) - (SR - 1000)
        np.testing.assert_array_equal(y[y != 0], x[x != 0])  # nothing is lost
        shifts.append(where)
    assert max(map(abs, shifts)) <= SR // 2
    assert min(shifts) < -0.45 * SR
    assert max(shifts) > 0.45 * SR
    assert abs(np.mean(shifts)) < 0.08 * SR


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_run_hears_the_same_and_every_clip_its_own(name: str, x: np.ndarray) -> None:
    before = x.copy()
    np.testing.assert_array_equal(heard(name, x, "a"), heard(name, x, "a"))
    np.testing.assert_array_equal(x, before)
    at_random = name in ("noise_20db", "noise_10db", "shift")
    assert np.array_equal(heard(name, x, "a"), heard(name, x, "b")) != at_random


def test_every_condition_has_a_line_for_the_table() -> None:
    descriptions = [condition.description for condition in CONDITIONS.values()]
    assert len(set(descriptions)) == len(CONDITIONS) == 7
    assert all(0 < len(text) < 70 and "\n" not in text for text in descriptions)
    assert all(isinstance(condition, Condition) for condition in CONDITIONS.values())
