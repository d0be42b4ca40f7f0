"""Other recordings that the training clips might have been, drawn anew in each epoch.

All of it works on the cached features and costs a few per cent of a step. What acts on the spectrum
(vocal tract, gain, noise, frequency masks) acts on the logarithm of the mel bands. MFCC are taken
back there by the transposed DCT, which gives the spectrum that their coefficients describe: a
smooth one, whose mean level is that of a zeroth coefficient already limited by `features.clip`.
"""

import librosa
import numpy as np
from scipy.fft import dct, idct

from pipeline.audio.spectra import dct_scale
from pipeline.params import Augment, Features


def clips(
    x: np.ndarray,
    y: np.ndarray,
    p: Augment,
    features: Features,
    hop: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Augmented clips and their labels.

    Parameters
    ----------
    x : features [shape=(clips, frames, bins, 1)]; not written to
    y : labels, one-hot [shape=(clips, classes)]
    p : what is done, and how much of it at most; zeros leave clips as they are
    features : what `x` is made of
    hop : from one frame to the next, in seconds
    rng : draws everything

    Returns
    -------
    x, y of the same shapes, float32; with mixup the labels are soft
    """
    x = x[..., 0]
    if p.speed:
        x = _sample(x, _stretched(x.shape[1], _around_one(p.speed, len(x), rng)), axis=1)
    if p.time_shift:
        x = _sample(x, _shifted(x.shape[1], round(p.time_shift / hop), len(x), rng), axis=1)
    if p.on_spectrum:
        x = _from_log_mel(_spectrum(_to_log_mel(x, features), p, features, rng), features)
    for _ in range(p.time_masks):
        x = _masked(x, round(p.time_mask_seconds / hop), rng)
    if p.mixup:
        x, y = _mixed(x, y, p.mixup, rng)
    return x[..., np.newaxis].astype(np.float32), y.astype(np.float32)


def _spectrum(
    log_mel: np.ndarray, p: Augment, features: Features, rng: np.random.Generator
) -> np.ndarray:
    """What a voice, a microphone and a room change [shape=(clips, frames, bands)]."""
    n, _, bands = log_mel.shape
    if p.vocal_tract:
        factors = _around_one(p.vocal_tract, n, rng)
        log_mel = _sample(log_mel, _warped(features, bands, factors), axis=2)
    if p.gain_db:
        gain = rng.uniform(-p.gain_db, p.gain_db, (n, 1, 1))
        log_mel = log_mel + gain * np.log(10) / 20
    if p.noise_share:
        log_mel = _noisy(log_mel, p, rng)
    for _ in range(p.frequency_masks):
        width = round(p.frequency_mask_share * bands)
        log_mel = _masked(log_mel.swapaxes(1, 2), width, rng).swapaxes(1, 2)
    return log_mel


def _around_one(most: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Factors from 1/(1 + most) to 1 + most, as often below one as above [shape=(n,)]."""
    return np.exp(rng.uniform(-1, 1, n) * np.log1p(most))


def _sample(x: np.ndarray, positions: np.ndarray, axis: int) -> np.ndarray:
    """`x` [shape=(clips, frames, bins)] at fractional positions [shape=(clips, n)] along `axis`."""
    last = x.shape[axis] - 1
    positions = np.clip(positions, 0, last)
    below = np.minimum(positions.astype(np.intp), max(0, last - 1))
    shape = (len(x), -1, 1) if axis == 1 else (len(x), 1, -1)
    part = (positions - below).astype(x.dtype).reshape(shape)
    one, other = (
        np.take_along_axis(x, np.minimum(index, last).reshape(shape), axis)
        for index in (below, below + 1)
    )
    return one + part * (other - one)


def _stretched(frames: int, factors: np.ndarray) -> np.ndarray:
    """Where each frame comes from when the clip, held at its centre, is spoken faster."""
    centre = (frames - 1) / 2
    return centre + (np.arange(frames) - centre) * factors[:, np.newaxis]


def _shifted(frames: int, most: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Where each frame comes from when the clip starts up to `most` frames later or earlier."""
    return np.arange(frames) - rng.integers(-most, most + 1, (n, 1)).astype(float)


def _warped(features: Features, bands: int, factors: np.ndarray) -> np.ndarray:
    """Where each band comes from when all resonances lie higher by a factor.

    A vocal tract of another length moves them so (Jaitly and Hinton, 2013).
    """
    low, high = librosa.hz_to_mel([features.fmin, features.fmax], htk=True)
    step = (high - low) / (bands + 1)
    hertz = librosa.mel_to_hz(low + step * np.arange(1, bands + 1), htk=True)
    return (librosa.hz_to_mel(hertz / factors[:, np.newaxis], htk=True) - low) / step - 1


def _noisy(log_mel: np.ndarray, p: Augment, rng: np.random.Generator) -> np.ndarray:
    """Some clips with a steady noise, in each band that of its own level.

    The signal-to-noise ratio counts from the loud frames: the 95th percentile of mean levels.
    """
    n, _, bands = log_mel.shape
    loud = np.quantile(log_mel.mean(axis=2), 0.95, axis=1)
    low, high = p.noise_snr_db
    ratio = rng.uniform(low, high, n) * np.log(10) / 20
    colour = rng.normal(0, 0.5, (n, 1, bands))
    ripple = rng.normal(0, 0.3, log_mel.shape)  # of a short window's spectrum around the mean
    noise = (loud - ratio)[:, np.newaxis, np.newaxis] + colour + ripple
    chosen = rng.random((n, 1, 1)) < p.noise_share
    return np.where(chosen, np.logaddexp(log_mel, noise), log_mel)


def _masked(x: np.ndarray, widest: int, rng: np.random.Generator) -> np.ndarray:
    """One stretch along axis 1 of each clip is replaced by the clip's mean over that axis.

    (SpecAugment: Park et al., Interspeech 2019.)
    """
    n, length, _ = x.shape
    width = rng.integers(0, min(widest, length) + 1, n)
    start = rng.integers(0, length - width + 1)
    at = np.arange(length)
    inside = (at >= start[:, np.newaxis]) & (at < (start + width)[:, np.newaxis])
    return np.where(inside[..., np.newaxis], x.mean(axis=1, keepdims=True), x)


def _mixed(
    x: np.ndarray, y: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Each clip with a smaller share of another, labels likewise (Zhang et al., ICLR 2018)."""
    share = rng.beta(alpha, alpha, len(x))
    share = np.maximum(share, 1 - share)
    other = rng.permutation(len(x))
    along_x, along_y = share[:, np.newaxis, np.newaxis], share[:, np.newaxis]
    return along_x * x + (1 - along_x) * x[other], along_y * y + (1 - along_y) * y[other]


def _to_log_mel(x: np.ndarray, p: Features) -> np.ndarray:
    """The mel bands' logarithm [shape=(clips, frames, bands)] that features describe."""
    if p.kind == "log_mel":
        return x
    x = x.copy()
    x /= dct_scale(p)
    return idct(x, n=p.n_mels, axis=-1, norm="ortho")


def _from_log_mel(log_mel: np.ndarray, p: Features) -> np.ndarray:
    if p.kind == "log_mel":
        return log_mel
    x = dct(log_mel, axis=-1, norm="ortho")[..., : p.n_mfcc]
    x *= dct_scale(p)
    return np.clip(x, -p.clip, p.clip)
