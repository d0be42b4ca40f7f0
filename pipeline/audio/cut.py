"""One length for every clip, and one level where that is asked for."""

import numpy as np

from pipeline.errors import AudioError

PERCENTILE = 99.9


def cut(y: np.ndarray, n: int, levelled: bool = True) -> np.ndarray:
    """Cut to `n` samples around the centre, level, and pad to `n` samples.

    The level is the 99.9th percentile of |y| after the cut: it becomes 1, and what lies above it is clipped. Shorter
    clips are padded with zeros on both sides. (The reference implementation's `utils/dataloader.py`.)

    Parameters
    ----------
    y : np.ndarray [shape=(any,)]
    n : length of the result in samples
    levelled : divide by the level; otherwise samples stay as they are, limited to plus or minus 1

    Returns
    -------
    np.ndarray [shape=(n,)], float32, within plus or minus 1

    Raises
    ------
    AudioError
        What is left after the cut is silence, or not finite.
    """
    start = max(0, (len(y) - n) // 2)
    y = y[start : start + n]
    level = np.percentile(np.abs(y), PERCENTILE) if len(y) else 0.0
    if not np.isfinite(level) or level <= 0:
        raise AudioError(
            f"the level of the clip's middle {n} samples is {level}, expected speech: leave the clip out"
        )
    y = np.clip(y / level if levelled else y, -1.0, 1.0)
    left = (n - len(y)) // 2
    return np.pad(y, (left, n - len(y) - left)).astype(np.float32)
