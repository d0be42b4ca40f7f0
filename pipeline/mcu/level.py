"""The level of a clip as the device finds it: exact, without keeping the samples.

The level is the 99.9th percentile of |x|, as training takes it (pipeline/audio/cut.py). It lies among
the largest thousandth, so these values are all that is kept: of n samples the
n - floor(0.999 · (n - 1)) largest. With N heard, padding not counted, and v[0] ≤ … ≤ v[N - 1] their
magnitudes,

    rank = 0.999 · (N - 1),  i = floor(rank),  level = v[i] + (rank - i) · (v[i + 1] - v[i])
"""

from fractions import Fraction

import numpy as np

from pipeline.audio import cut

_SHARE = Fraction(str(cut.PERCENTILE)) / 100


def _rank(n: int) -> tuple[int, float]:
    """Where the percentile of `n` values lies in ascending order: position, and share of the step."""
    rank = _SHARE * (n - 1)
    return int(rank), float(rank % 1)


class Level:
    """The level of up to `n` samples, out of the few largest magnitudes heard."""

    def __init__(self, n: int) -> None:
        self.kept = n - _rank(n)[0]
        self._largest = np.zeros(0, np.int32)
        self._heard = 0

    def hear(self, x: np.ndarray) -> None:
        """More samples, int16 [shape=(any,)]."""
        every = np.concatenate([self._largest, np.abs(x.astype(np.int32))])
        if len(every) > self.kept:
            every = np.partition(every, -self.kept)[-self.kept :]
        self._largest = np.sort(every)
        self._heard += len(x)

    def value(self) -> float:
        """In steps of int16; 0 before anything was heard."""
        if self._heard == 0:
            return 0.0
        position, share = _rank(self._heard)
        lower = position - (self._heard - len(self._largest))
        value, above = self._largest[lower], self._largest[min(lower + 1, len(self._largest) - 1)]
        return float(value + share * (above - value))
