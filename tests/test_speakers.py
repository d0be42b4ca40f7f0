"""Intervals and comparisons by speaker, against scikit-learn, scipy and cases computed by hand."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import recall_score

from pipeline.errors import SernetError
from pipeline.scoring.speakers import SCORES, Counts, Interval, _between, compare, interval


def run(rates: list[float], clips: int = 40, seed: int = 0) -> pd.DataFrame:
    """A speaker for each rate of right answers, two classes."""
    rng = np.random.default_rng(seed)
    rows = []
    for speaker, rate in enumerate(rates):
        for clip in range(clips):
            actual = "ab"[clip % 2]
            right = rng.random() < rate
            said = actual if right else "ba"[clip % 2]
            rows.append((f"{speaker:02}-{clip:03}", f"s{speaker}", actual, said))
    return pd.DataFrame(rows, columns=["clip", "speaker", "actual", "predicted_int8"])


def test_counts_give_scikit_learns_ua() -> None:
    rows = run([0.9, 0.5, 0.7])
    counts = Counts.of(rows, "predicted_int8")
    ua = SCORES["ua"](counts.clips.sum(axis=0)[None], counts.hits.sum(axis=0)[None])[0]
    expected = 100 * recall_score(rows["actual"], rows["predicted_int8"], average="macro")
    assert ua == pytest.approx(expected)


def test_the_interval_is_scipys_bootstrap_over_speakers_expanded_for_their_number() -> None:
    rows = run([0.9, 0.5, 0.7, 0.8, 0.6, 0.95, 0.4, 0.75])
    counts = Counts.of(rows, "predicted_int8")

    def ua(speakers: np.ndarray) -> float:
        clips, hits = counts.clips[speakers].sum(axis=0), counts.hits[speakers].sum(axis=0)
        return float(SCORES["ua"](clips[None], hits[None])[0])

    # Student's t of seven degrees of freedom at 0.975 is 2.3646 in any table, times √(8/7): 2.528;
    # the normal distribution has 0.00574 below that.
    theirs = stats.bootstrap(
        (np.arange(8),), ua, vectorized=False, method="percentile", n_resamples=20_000,
        confidence_level=1 - 2 * 0.00574, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    ours = interval(rows, "predicted_int8", "ua")
    assert ours is not None
    assert ours.low == pytest.approx(theirs.low, abs=1.0)
    assert ours.high == pytest.approx(theirs.high, abs=1.0)


def covered(speakers: int, interval_of: Callable[[np.ndarray], tuple[float, float]]) -> float:
    """How often the interval of the mean of normal draws, one a speaker, holds what they are drawn around."""
    rng = np.random.default_rng(3)
    held = []
    for _ in range(600):
        means = rng.standard_normal(speakers)
        draws = rng.multinomial(speakers, np.full(speakers, 1 / speakers), size=2000)
        low, high = interval_of(draws @ means / speakers)
        held.append(low <= 0 <= high)
    return float(np.mean(held))


@pytest.mark.parametrize(("speakers", "least", "percentile"), [(5, 0.90, 0.88), (10, 0.93, 0.92)])
def test_the_interval_holds_the_truth_nearly_as_often_as_it_says(
    speakers: int, least: float, percentile: float
) -> None:
    def ours(scores: np.ndarray) -> tuple[float, float]:
        found = _between(100 * scores, speakers)  # it keeps two decimals
        assert found is not None
        return found.low, found.high

    assert covered(speakers, ours) > least
    assert covered(speakers, lambda scores: tuple(np.quantile(scores, [0.025, 0.975]))) < percentile


def test_of_fewer_than_five_speakers_there_is_no_interval_for_none_would_be_wide_enough() -> None:
    def widest(scores: np.ndarray) -> tuple[float, float]:
        return float(scores.min()), float(scores.max())

    for speakers in (1, 2, 3, 4):
        assert covered(speakers, widest) < 0.9
        assert interval(run([0.7] * speakers), "predicted_int8", "ua") is None
    assert interval(run([0.7] * 5), "predicted_int8", "ua") is not None


def test_so_few_speakers_that_no_difference_could_show_give_no_verdict() -> None:
    worst, best = ([rate] * 5 for rate in (0.0, 1.0))
    few = compare(run(worst), run(best), "predicted_int8")
    assert few.difference == 100
    # Of 32 exchanges, none and all give this: more than one in twenty.
    assert few.p == 2 / 32
    assert few.verdict == "not to be told from chance at the 5 % level by 5 speakers, of whom no p is below 0.0625"  # fmt: skip
    six = compare(run([0.0] * 6), run([1.0] * 6), "predicted_int8")
    assert six.verdict == "more than chance at the 5 % level"
    assert compare(run([*worst, 0.5]), run([*worst, 0.6]), "predicted_int8").verdict == "no more than chance at the 5 % level"  # fmt: skip


def test_speakers_who_differ_make_a_wider_interval_than_as_many_clips_alone() -> None:
    alike, unlike = run([0.7] * 8), run([1.0, 0.4] * 4)
    widths = [
        found.high - found.low
        for found in (interval(rows, "predicted_int8", "ua") for rows in (alike, unlike))
        if found is not None
    ]
    assert widths[1] > 1.5 * widths[0]


def test_a_run_compared_with_itself_does_not_differ() -> None:
    rows = run([0.9, 0.5, 0.7, 0.8, 0.6])
    found = compare(rows, rows.sample(frac=1, random_state=0), "predicted_int8")
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.interval == Interval(0.0, 0.0)


def test_a_gain_for_every_speaker_has_the_p_of_the_exact_test_by_hand() -> None:
    worse, better = run([0.5] * 8), run([0.95] * 8, seed=1)
    found = compare(worse, better, "predicted_int8")
    assert found.difference > 20
    assert found.interval is not None and found.interval.low > 0
    # Only "exchange none" and "exchange all" give a difference as large: 2 of 2^8.
    assert found.p == pytest.approx(2 / 256, abs=1e-4)


def test_one_speakers_gain_is_not_more_than_chance() -> None:
    a, b = run([0.6] * 8), run([0.6] * 7 + [0.95])
    found = compare(a, b, "predicted_int8")
    assert found.difference > 2
    assert found.p > 0.5


def test_chance_gives_small_p_as_seldom_as_it_should() -> None:
    ps = [
        compare(run([0.7] * 8, seed=2 * n), run([0.7] * 8, seed=2 * n + 1), "predicted_int8").p
        for n in range(60)
    ]
    assert np.mean(np.array(ps) <= 0.1) < 0.25


def test_runs_on_other_clips_are_refused() -> None:
    rows = run([0.9, 0.5])
    with pytest.raises(SernetError, match="80 and 79 clips, 79 of the same name"):
        compare(rows, rows.iloc[1:], "predicted_int8")
    with pytest.raises(SernetError, match="at least two"):
        compare(run([0.9]), run([0.9]), "predicted_int8")
