"""One frame of int16 samples to its features, by the code that the device has: CMSIS-DSP.

`f32` is arm_mfcc_f32 (cores with a floating-point unit). It divides a frame by its largest sample
and multiplies the mel bands by it again before it adds 1e-6, so its result is that of the frame as
it was. (Older releases of CMSIS-DSP do not multiply again.) With its filters times s = 1e-6 / offset it
adds any offset:

    log(s · band + 1e-6) = log(band + offset) + log(s)

With the identity in the place of the DCT its result is the log-mel spectrum.

`q15` is arm_mfcc_q15. Its FFT divides by n_fft within 16 bits, so that what is fainter than about
n_fft / 2^15 in a bin is lost in rounding. Frames are shifted up to use all bits first, which
coefficient 0 makes good afterwards.

`q31` is arm_rfft_q31 on the frame shifted up, and float32 from the magnitudes on, for cores without
a floating-point unit where q15 is too coarse. (arm_mfcc_q31 is not used: arm_cmplx_mag_q31 squares
within 32 bits, which halves them.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import cmsisdsp
import numpy as np
from cmsisdsp import datatype
from cmsisdsp import mfcc as cmsis_mfcc
from scipy.signal import get_window

from pipeline.audio import spectra
from pipeline.errors import ParamsError
from pipeline.params import Features

Kind = Literal["f32", "q31", "q15"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FULL_SCALE = 32768  # of int16 samples
OFFSET = 1e-6  # what arm_mfcc_* add to the mel bands before the logarithm

_TYPE = {"f32": datatype.F32, "q31": datatype.Q31, "q15": datatype.Q15}
# Entries of the bit reversal tables of arm_common_tables.h by the length of the floating-point FFT,
# which is complex and half as long as the frame.
_BIT_REVERSAL = {16: 20, 32: 48, 64: 56, 128: 208, 256: 440, 512: 448, 1024: 1800, 2048: 3808}


def shifted(p: Features) -> int:
    """How many features of a frame, from the first one on, a gain shifts: coefficient 0, or all bands."""
    return 1 if p.kind == "mfcc" else p.n_mels


def levelled(p: Features) -> int:
    """How many of them change with the level of the clip, once it is known."""
    return shifted(p) if p.level == "clip" else 0


def per_log_level(p: Features) -> float:
    """By how much the features that a gain shifts grow when its logarithm does by 1."""
    return float(np.sqrt(2 * p.n_mels)) if p.kind == "mfcc" else 1.0


def silent(p: Features) -> float:
    """What these features are in a frame of zeros; the others are 0."""
    return per_log_level(p) * float(np.log(p.log_offset))


def shift(p: Features) -> float:
    """What has to be added to these features of arm_mfcc_f32, whose filters are those of `tables`."""
    return per_log_level(p) * float(np.log(p.log_offset / OFFSET))


@dataclass(frozen=True)
class MfccTables:
    """What arm_mfcc_init_* take, in the element type of their arithmetic.

    window : [shape=(n_fft,)]
    filters : the mel bands' weights, one band after the other, without the zeros around them
    positions, lengths : of each band in the spectrum and in `filters` [shape=(n_mels,)], uint32
    basis : what the logarithms are multiplied by, row by row: the liftered DCT, or the identity
        [shape=(bins * n_mels,)]
    """

    window: np.ndarray
    filters: np.ndarray
    positions: np.ndarray
    lengths: np.ndarray
    basis: np.ndarray

    def bytes(self) -> dict[str, int]:
        """Of flash, by name."""
        return {
            "window": self.window.nbytes,
            "filters": self.filters.nbytes + self.positions.nbytes + self.lengths.nbytes,
            "basis": self.basis.nbytes,
        }


def check(p: Features, kind: Kind = "f32") -> None:
    """Raise ParamsError where the device's front end does not have what `p` asks for."""
    lengths = [2 * n for n in _BIT_REVERSAL]
    if p.kind == "spectrogram":
        raise ParamsError(
            f"features.kind is {p.kind}, the device's front end has mfcc and log_mel: set features.kind to one of them"
        )
    if p.n_fft not in lengths:
        raise ParamsError(
            f"features.n_fft is {p.n_fft}, CMSIS-DSP's FFT takes {', '.join(map(str, lengths))}: choose one of them"
        )
    if kind == "q15" and (p.kind, p.log_offset, p.lifter) != ("mfcc", OFFSET, 0):
        raise ParamsError(
            f"features are {p.kind} with a log_offset of {p.log_offset} and a lifter of {p.lifter}, arm_mfcc_q15 has mfcc with {OFFSET} and 0: set features.kind, features.log_offset and features.lifter to these"
        )
    if p.n_mels > p.n_fft // 2:
        raise ParamsError(
            f"features.n_mels is {p.n_mels}, the device's memory for it takes half of features.n_fft, {p.n_fft // 2}: choose at most that"
        )
    if p.hop_length > p.n_fft:
        raise ParamsError(
            f"features.hop_length is {p.hop_length}, the device keeps features.n_fft = {p.n_fft} samples: choose a hop_length of at most that"
        )


def has(kind: Kind, p: Features) -> bool:
    """Whether the device computes `p` in this arithmetic."""
    try:
        check(p, kind)
    except ParamsError:
        return False
    return True


def basis(p: Features, dtype: int = datatype.F32) -> np.ndarray:
    """What the logarithms of the bands are multiplied by [shape=(bins * n_mels,)], row by row."""
    if p.kind == "log_mel":
        return np.eye(p.n_mels, dtype=np.float32).ravel()
    matrix: np.ndarray = cmsis_mfcc.dctMatrix(dtype, p.n_mfcc, p.n_mels)
    if p.lifter:  # q15 has none
        matrix = (matrix.reshape(p.n_mfcc, -1) * spectra.lifter(p)[:, np.newaxis]).ravel()
    return matrix


def tables(kind: Kind, sample_rate: int, p: Features) -> MfccTables:
    """The tables of the front end that training uses, as the device stores them."""
    matrix = spectra.mel_filters(sample_rate, p.n_fft, p.n_mels, p.fmin, p.fmax)
    inside = matrix > 0
    # A band that falls between two bins of the FFT has no weights: length 0, anywhere.
    lengths = inside.sum(axis=1)
    positions = inside.argmax(axis=1)
    window = get_window("hann", p.n_fft)  # periodic
    dtype = _TYPE[kind]
    return MfccTables(
        window=datatype.convert(window, dtype),
        # For an offset of 1e-6, which is all that q15 has, the weights are as they were.
        filters=datatype.convert(matrix[inside] * (OFFSET / p.log_offset), dtype),
        positions=positions.astype(np.uint32),
        lengths=lengths.astype(np.uint32),
        basis=basis(p, dtype),
    )


def fft_bytes(n_fft: int) -> int:
    """Of flash, for CMSIS-DSP's own tables of the FFT in floating point.

    Twiddle factors of the complex FFT, and of the step to the real one, and the bit reversal.
    """
    return 4 * n_fft + 4 * n_fft + 2 * _BIT_REVERSAL[n_fft // 2]


def flash(sample_rate: int, p: Features) -> dict[str, int]:
    """Bytes of all tables that the front end in floating point keeps in flash, by name."""
    return {**tables("f32", sample_rate, p).bytes(), "fft": fft_bytes(p.n_fft)}


class Frame:
    """The features of a frame.

    Parameters
    ----------
    kind : the arithmetic
    sample_rate : in Hz
    p : what training computes

    Raises
    ------
    ParamsError
        The device does not have what `p` asks for.
    """

    def __init__(self, kind: Kind, sample_rate: int, p: Features) -> None:
        check(p, kind)
        self._p = p
        self._of: Callable[[np.ndarray, float, float], np.ndarray] = {
            "f32": self._f32, "q31": self._q31, "q15": self._q15,
        }[kind]  # fmt: skip
        if kind == "q31":
            self._window = tables(kind, sample_rate, p).window
            self._mel = spectra.mel_filters(sample_rate, p.n_fft, p.n_mels, p.fmin, p.fmax)
            self._basis = basis(p).reshape(-1, p.n_mels)
            self._fft = cmsisdsp.arm_rfft_instance_q31()
            status = cmsisdsp.arm_rfft_init_q31(self._fft, p.n_fft, 0, 1)
        else:
            table = tables(kind, sample_rate, p)
            self._instance = getattr(cmsisdsp, f"arm_mfcc_instance_{kind}")()
            status = getattr(cmsisdsp, f"arm_mfcc_init_{kind}")(
                self._instance, p.n_fft, p.n_mels, p.bins, table.basis,
                table.positions, table.lengths, table.filters, table.window,
            )  # fmt: skip
            self._scratch = np.zeros(2 * p.n_fft, np.float32 if kind == "f32" else np.int32)
        assert status == 0, f"CMSIS-DSP refuses what check() let pass (status {status})"

    def __call__(
        self, frame: np.ndarray, level: float = FULL_SCALE, limit: float | None = None
    ) -> np.ndarray:
        """Features [shape=(bins,)], float32, not limited themselves.

        Parameters
        ----------
        frame : int16 [shape=(n_fft,)]
        level : what counts as 1, in steps of int16
        limit : samples are limited to plus or minus this, in steps of int16; None: to the level
        """
        limit = level if limit is None else limit
        if limit == 0 or not frame.any():  # no bits to shift up
            zeros = np.zeros(self._p.bins, np.float32)
            zeros[: shifted(self._p)] = silent(self._p)
            return zeros
        return self._of(frame, level, limit)

    def _f32(self, frame: np.ndarray, level: float, limit: float) -> np.ndarray:
        scaled = frame.astype(np.float32) * np.float32(1 / level)
        limited = np.clip(scaled, -limit / level, limit / level)
        features: np.ndarray = cmsisdsp.arm_mfcc_f32(self._instance, limited, self._scratch)
        features[: shifted(self._p)] += np.float32(shift(self._p))
        return features

    def _q15(self, frame: np.ndarray, level: float, limit: float) -> np.ndarray:
        samples, bits = _shifted_up(frame, limit)
        _, q8_7 = cmsisdsp.arm_mfcc_q15(self._instance, samples.astype(np.int16), self._scratch)
        coefficients = q8_7.astype(np.float32) / np.float32(1 << 7)
        coefficients[0] -= per_log_level(self._p) * np.log(level * 2**bits / FULL_SCALE)
        return coefficients

    def _q31(self, frame: np.ndarray, level: float, limit: float) -> np.ndarray:
        samples, bits = _shifted_up(frame, limit)
        windowed = cmsisdsp.arm_mult_q31(samples << 16, self._window)
        # arm_rfft_q31 divides by n_fft and gives the conjugate half too.
        half = cmsisdsp.arm_rfft_q31(self._fft, windowed)[: self._p.n_fft + 2]
        magnitudes = cmsisdsp.arm_cmplx_mag_f32(cmsisdsp.arm_q31_to_float(half))
        scale = np.float32(self._p.n_fft * FULL_SCALE / (level * 2**bits))
        bands = self._mel @ magnitudes * scale + np.float32(self._p.log_offset)
        features: np.ndarray = self._basis @ np.log(bands)
        return features


def _shifted_up(frame: np.ndarray, limit: float) -> tuple[np.ndarray, int]:
    """The frame, limited, times the power of two that uses its bits; and the power's exponent.

    The samples are int32 [shape=(n_fft,)] within the range of int16.
    """
    peak = min(float(np.abs(frame.astype(np.int32)).max()), limit)
    bits = max(0, 15 - int(np.ceil(peak)).bit_length())
    most = min(round(limit * 2**bits), FULL_SCALE - 1)
    return np.clip(frame.astype(np.int32) << bits, -most, most), bits
