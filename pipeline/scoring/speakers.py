"""How sure a score is, and whether two runs differ by more than chance; the unit is the speaker.

Clips of one speaker are alike, so that resampling clips would promise a precision that a new speaker
does not keep. Both methods treat a speaker's clips as one draw.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.errors import SernetError

RESAMPLES = 10_000
LEVEL = 0.05  # of significance
FEWEST = 5  # speakers for an interval, see `_between`
EXACT_SPEAKERS = 14  # up to 2^14 exchanges are all tried


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, in percent."""

    low: float
    high: float


@dataclass(frozen=True)
class Counts:
    """Clips and rightly classified clips by speaker and class [shape=(speakers, classes)]."""

    clips: np.ndarray
    hits: np.ndarray

    @staticmethod
    def of(rows: pd.DataFrame, predicted: str) -> "Counts":
        """From a row per clip with `speaker`, `actual`, and what a model said in column `predicted`."""
        right = rows[predicted] == rows["actual"]
        clips = pd.crosstab(rows["speaker"], rows["actual"])
        hits = pd.crosstab(rows["speaker"], rows["actual"], right, aggfunc="sum").fillna(0)
        return Counts(clips.to_numpy(float), hits.to_numpy(float))


def _ua(clips: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """UA in percent [shape=(n,)] of pooled counts [shape=(n, classes)], over the classes present."""
    recalls = np.divide(hits, clips, out=np.full(hits.shape, np.nan), where=clips > 0)
    return 100 * np.nanmean(recalls, axis=1)


def _wa(clips: np.ndarray, hits: np.ndarray) -> np.ndarray:
    return 100 * hits.sum(axis=1) / clips.sum(axis=1)


SCORES = {"ua": _ua, "wa": _wa}


def _draws(speakers: int, seed: int) -> np.ndarray:
    """How often each speaker is drawn in each resample [shape=(RESAMPLES, speakers)]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(speakers, np.full(speakers, 1 / speakers), size=RESAMPLES)


def _between(scores: np.ndarray, speakers: int) -> Interval | None:
    """The 95 % interval out of the resamples' scores; None where there are too few speakers for one.

    Percentiles of the bootstrap promise too much of few speakers: 2.5 and 97.5 hold the mean of ten
    normal draws 90 times in 100, of five 85. Wider ones, as of Student's t in place of the normal
    distribution and of n - 1 in place of n, hold it 94 and 92 times (Hesterberg, "What Teachers Should
    Know About the Bootstrap", 2015, section 3.2: the expanded percentile interval). Of four speakers
    they would lie beyond the draws of one speaker four times, which are the farthest there are: that
    interval holds the mean 87 times, of two speakers 50.
    """
    if speakers < FEWEST:
        return None
    t = stats.t.ppf(0.975, speakers - 1)
    tail = 100 * stats.norm.cdf(-t * np.sqrt(speakers / (speakers - 1)))
    low, high = np.percentile(scores, [tail, 100 - tail])
    return Interval(round(float(low), 2), round(float(high), 2))


def interval(rows: pd.DataFrame, predicted: str, score: str, seed: int = 0) -> Interval | None:
    """The 95 % interval of a pooled score by bootstrap over speakers; None of fewer than `FEWEST`.

    Parameters
    ----------
    rows : a row per test clip, with `speaker` and `actual`
    predicted : the column with what a model said
    score : `ua` or `wa`
    """
    counts = Counts.of(rows, predicted)
    draws = _draws(len(counts.clips), seed)
    scores = SCORES[score](draws @ counts.clips, draws @ counts.hits)
    return _between(scores, len(draws[0]))


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same clips.

    difference : of B minus A, in points of the score
    interval : of the difference, by bootstrap over speakers; None of fewer than `FEWEST`
    p : probability of a difference as large where it is chance which of the two runs a speaker's
        answers are called A's, by exchanging them speaker by speaker
    """

    score: str
    a: float
    b: float
    difference: float
    interval: Interval | None
    p: float
    clips: int
    speakers: int

    @property
    def verdict(self) -> str:
        """Whether the difference is more than chance, as the end of a sentence."""
        # Of all exchanges, none and all give the largest difference.
        least = 2.0 ** (1 - self.speakers)
        if least >= LEVEL:
            return (
                f"not to be told from chance at the {100 * LEVEL:g} % level by {self.speakers} speakers, of whom no p is below "
                f"{least:.4f}"
            )
        return (
            f"{'more' if self.p < LEVEL else 'no more'} than chance at the {100 * LEVEL:g} % level"
        )


def compare(
    a: pd.DataFrame, b: pd.DataFrame, predicted: str, score: str = "ua", seed: int = 0
) -> Comparison:
    """Compare what two runs said of the same clips, paired by speaker.

    Raises
    ------
    SernetError
        The runs do not have the same clips with the same labels, or fewer than two speakers.
    """
    a, b = (rows.sort_values("clip").reset_index(drop=True) for rows in (a, b))
    columns = ["clip", "speaker", "actual"]
    if not a[columns].equals(b[columns]):
        common = len(set(a["clip"]) & set(b["clip"]))
        raise SernetError(
            f"the runs have {len(a)} and {len(b)} clips, {common} of the same name, expected the same clips with the same labels: "
            "compare runs on one corpus"
        )
    of_a, of_b = Counts.of(a, predicted), Counts.of(b, predicted)
    speakers = len(of_a.clips)
    if speakers < 2:
        raise SernetError("the runs have one speaker, expected at least two")
    function = SCORES[score]

    def difference(weights: np.ndarray, exchanged: np.ndarray) -> np.ndarray:
        """B minus A, where `exchanged` speakers' answers change sides [both (n, speakers)]."""
        clips = weights @ of_a.clips
        own, other = weights * ~exchanged, weights * exchanged
        return function(clips, own @ of_b.hits + other @ of_a.hits) - function(
            clips, own @ of_a.hits + other @ of_b.hits
        )

    draws = _draws(speakers, seed)
    unchanged = np.zeros((1, speakers), bool)
    (observed,) = difference(np.ones((1, speakers)), unchanged)
    if speakers <= EXACT_SPEAKERS:
        exchanges = np.array(list(product([False, True], repeat=speakers)))
    else:
        exchanges = np.random.default_rng(seed).random((RESAMPLES, speakers)) < 0.5
        exchanges[0] = False  # the one that was seen is among them
    by_chance = difference(np.ones((1, speakers)), exchanges)
    whole = np.ones((1, speakers))
    return Comparison(
        score=score,
        a=round(float(function(whole @ of_a.clips, whole @ of_a.hits)[0]), 2),
        b=round(float(function(whole @ of_b.clips, whole @ of_b.hits)[0]), 2),
        difference=round(float(observed), 2),
        interval=_between(difference(draws, unchanged), speakers),
        p=round(float(np.mean(np.abs(by_chance) >= abs(observed) - 1e-9)), 4),
        clips=len(a),
        speakers=speakers,
    )
