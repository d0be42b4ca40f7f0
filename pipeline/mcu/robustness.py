"""What happens to samples between a speaker and the device: perturbations of int16 clips.

Each is drawn by the clip's id, so that every model and every run hears the same.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

INT16 = np.iinfo(np.int16)
GAIN_DB = 12.0
CLIPPED_SHARE = 0.05
SHIFT_SECONDS = 0.5

Perturb = Callable[[np.ndarray, np.random.Generator, int], np.ndarray]


def saturated(x: np.ndarray) -> np.ndarray:
    """Real numbers in steps of int16 as int16: rounded, and limited to its range."""
    return np.clip(np.rint(x), INT16.min, INT16.max).astype(np.int16)


def gain(x: np.ndarray, rng: np.random.Generator, sample_rate: int, *, db: float) -> np.ndarray:
    """`x` amplified by `db`, limited where int16 ends."""
    return saturated(x * 10 ** (db / 20))


def noise(x: np.ndarray, rng: np.random.Generator, sample_rate: int, *, snr: float) -> np.ndarray:
    """`x` and white Gaussian noise, whose power is `snr` dB below the mean power of the clip."""
    power = np.mean(np.square(x, dtype=np.float64)) / 10 ** (snr / 10)
    return saturated(x + rng.normal(0.0, np.sqrt(power), len(x)))


def hard_clip(
    x: np.ndarray, rng: np.random.Generator, sample_rate: int, *, share: float
) -> np.ndarray:
    """`x` limited at the magnitude that `share` of its samples exceed."""
    threshold = np.quantile(np.abs(x.astype(np.int32)), 1 - share)
    return saturated(np.clip(x, -threshold, threshold))


def shift(
    x: np.ndarray, rng: np.random.Generator, sample_rate: int, *, seconds: float
) -> np.ndarray:
    """`x` up to `seconds` earlier or later in what the network sees, silence before or after it.

    The network sees the middle of a recording, which moves by half of what is put before it.
    """
    most = round(seconds * sample_rate)
    by = int(rng.integers(-most, most + 1))
    return np.pad(x, (2 * max(by, 0), 2 * max(-by, 0)))


@dataclass(frozen=True)
class Condition:
    """A perturbation, and what the table says of it."""

    description: str
    perturb: Perturb | None  # None: as recorded

    def __call__(self, x: np.ndarray, clip: str, sample_rate: int) -> np.ndarray:
        """The samples, int16 [shape=(any,)], of the clip with the id `clip` under this condition."""
        if self.perturb is None:
            return x
        seed = hashlib.sha256(clip.encode()).digest()
        rng = np.random.default_rng(int.from_bytes(seed, "little"))
        return self.perturb(x, rng, sample_rate)


CONDITIONS: dict[str, Condition] = {
    "clean": Condition("as recorded", None),
    "gain_up": Condition(
        f"{GAIN_DB:.0f} dB louder, limited where int16 ends", partial(gain, db=GAIN_DB)
    ),
    "gain_down": Condition(f"{GAIN_DB:.0f} dB quieter", partial(gain, db=-GAIN_DB)),
    "noise_20db": Condition(
        "white noise 20 dB below the clip's mean power", partial(noise, snr=20.0)
    ),
    "noise_10db": Condition(
        "white noise 10 dB below the clip's mean power", partial(noise, snr=10.0)
    ),
    "clipping": Condition(
        f"limited at the magnitude that {CLIPPED_SHARE:.0%} of the samples exceed",
        partial(hard_clip, share=CLIPPED_SHARE),
    ),
    "shift": Condition(
        f"up to {SHIFT_SECONDS} s earlier or later, at random",
        partial(shift, seconds=SHIFT_SECONDS),
    ),
}
