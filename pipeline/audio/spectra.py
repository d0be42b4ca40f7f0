"""The network's input: MFCC as in the paper, and its two alternatives.

Definitions follow the paper's reference implementation, which uses `tf.signal`: magnitude (not
power) spectrum, HTK mel bands without area normalisation, natural logarithm, DCT-II.
"""

from functools import lru_cache

import librosa
import numpy as np

from pipeline.params import Features


def frames(n: int, p: Features) -> int:
    """How many frames `n` samples give, without centring."""
    return (n - p.n_fft + p.hop_length) // p.hop_length


def limit(p: Features) -> float:
    """Features are limited to plus or minus this."""
    return p.clip if p.kind == "mfcc" else float("inf")


def lifter(p: Features) -> np.ndarray:
    """What each coefficient is multiplied by [shape=(n_mfcc,)], float32: 1 for the zeroth.

    HTK's sine lifter (Young et al., The HTK Book, section 5.6): high coefficients vary less.
    """
    if p.lifter == 0:
        return np.ones(p.n_mfcc, np.float32)
    angle = np.pi * np.arange(p.n_mfcc) / p.lifter
    return (1 + p.lifter / 2 * np.sin(angle)).astype(np.float32)


def dct_scale(p: Features) -> np.ndarray:
    """The coefficients' scale beside those of an orthonormal DCT [shape=(n_mfcc,)], float64.

    An orthonormal DCT scales its first row by 1/√N, librosa's too; `tf.signal` and CMSIS-DSP scale it
    by √(2/N) as the others.
    """
    scale = lifter(p).astype(np.float64)
    scale[0] *= np.sqrt(2)
    return scale


@lru_cache(maxsize=4)
def mel_filters(sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> np.ndarray:
    """Triangles of the mel bands [shape=(n_mels, 1 + n_fft // 2)], of height 1, in float32.

    Their sides are linear in mel, as those of `tf.signal.linear_to_mel_weight_matrix`, which the
    paper's code calls, and of CMSIS-DSP's `melFilterMatrix`, which the device has. Those of
    `librosa.filters.mel` are linear in hertz, and differ from them by up to 2.3e-3.
    """
    corners = librosa.mel_frequencies(n_mels + 2, fmin=fmin, fmax=fmax, htk=True)
    left, centre, right = (
        librosa.hz_to_mel(corners, htk=True)[i : i + n_mels, np.newaxis] for i in range(3)
    )
    mel = librosa.hz_to_mel(librosa.fft_frequencies(sr=sr, n_fft=n_fft), htk=True)
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def features(y: np.ndarray, sr: int, p: Features) -> np.ndarray:
    """Features of a clip.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)], within plus or minus 1
    sr : in Hz
    p : what to compute

    Returns
    -------
    np.ndarray [shape=(frames(n), bins)], float32
        `mfcc`: coefficients, liftered and limited to plus or minus `clip`. `log_mel`: natural logarithm of the
        mel bands' magnitudes. `spectrogram`: magnitudes.
    """
    spectrum = np.abs(librosa.stft(y, n_fft=p.n_fft, hop_length=p.hop_length, center=False))
    if p.kind == "spectrogram":
        return spectrum.T.astype(np.float32)
    mel = mel_filters(sr, p.n_fft, p.n_mels, p.fmin, p.fmax) @ spectrum
    log_mel = np.log(mel + p.log_offset)
    if p.kind == "log_mel":
        return log_mel.T.astype(np.float32)
    mfcc = librosa.feature.mfcc(S=log_mel, n_mfcc=p.n_mfcc, dct_type=2, norm="ortho")
    mfcc *= dct_scale(p)[:, np.newaxis]
    return np.clip(mfcc, -p.clip, p.clip).T.astype(np.float32)
