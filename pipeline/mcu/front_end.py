"""The front end as on the device: int16 samples to features, with the level found in three ways.

Training divides a clip by its level, the 99.9th percentile of |x|, before anything else, and limits
it to plus or minus 1 (pipeline/audio/cut.py). A device may not have the memory to wait for it.

`whole`: the clip's samples are kept. The same definition as training.

`deferred`: no samples are kept but a frame's. Frames are computed as they come, of x / 32768. The
level scales all bands alike, so of MFCC it shifts coefficient 0 only; of log-mel it changes each value,
which still tells its band:

    c0 := c0 - sqrt(2 · n_mels) · ln(level / 32768)
    value := ln((exp(value) - offset) · 32768 / level + offset)

which is done when the clip has ended; until then the device keeps what changes of each frame as floats,
and the other coefficients in the network's own int8. A frame's samples are limited at the level of what
was heard up to its end, for want of the final one. Where that is the final one, what differs from
`whole` is that of MFCC the offset, which is added to the bands before the logarithm, is relative to full
scale.

`running`: as `deferred`, but what changes is corrected by the level of what was heard up to the end of
the frame, so that a row is final as soon as it is there.

The percentile is exact in all three, see pipeline/mcu/level.py. With `features.level=none` there is
nothing to divide by, and the three are one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from scipy.io import wavfile

from pipeline import workers
from pipeline.audio import spectra
from pipeline.errors import AudioError
from pipeline.mcu import cmsis
from pipeline.mcu.cmsis import FULL_SCALE, Frame, Kind
from pipeline.mcu.level import Level
from pipeline.params import Features
from pipeline.tflite.int8 import quantize

Mode = Literal["whole", "deferred", "running"]
MODES: tuple[Mode, ...] = get_args(Mode)
_CMSIS_INSTANCE = 56  # bytes of arm_mfcc_instance_f32 with pointers of 32 bits
_BATCH = 128  # clips a task: to load the libraries in a process takes as long as so many clips

Change = Callable[[np.ndarray, str, int], np.ndarray]  # of samples, by clip id and sample rate


def to_int16(y: np.ndarray) -> np.ndarray:
    """Samples as the device's converter gives them: rounded to int16, limited to its range."""
    if y.dtype == np.int16:
        return y
    return np.clip(np.rint(y * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


class DeviceFrontEnd:
    """Features of a clip as the device computes them.

    Parameters
    ----------
    kind : the arithmetic, see pipeline/mcu/cmsis.py
    input_len : what the network sees, in seconds
    sample_rate : in Hz
    p : what training computes

    Raises
    ------
    ParamsError
        The device does not have what `p` asks for.
    """

    def __init__(self, kind: Kind, input_len: float, sample_rate: int, p: Features) -> None:
        self.n = round(input_len * sample_rate)
        self.p = p
        self.frames = spectra.frames(self.n, p)
        self.frame = Frame(kind, sample_rate, p)

    def features(self, x: np.ndarray, mode: Mode = "whole") -> np.ndarray:
        """Features [shape=(frames, bins)], float32, of a recording.

        Parameters
        ----------
        x : int16 [shape=(any,)]; cut around the centre or padded on both sides, as in training
        mode : how the level is found

        Raises
        ------
        AudioError
            The recording's middle is silence.
        """
        start = max(0, (len(x) - self.n) // 2)
        x = x[start : start + self.n]
        if mode == "whole":
            return self._whole(x)
        stream = StreamingFrontEnd(self, len(x), running=mode == "running")
        stream.hear(x)
        return stream.finish()

    def quantized(
        self, x: np.ndarray, scale: float, zero_point: int, mode: Mode = "whole"
    ) -> np.ndarray:
        """`features` as the network's int8 input, whose scale and zero point are given."""
        return quantize(self.features(x, mode), scale, zero_point)

    def _whole(self, x: np.ndarray) -> np.ndarray:
        level = Level(self.n)
        level.hear(x)
        of_clip = _above_silence(level.value())
        if self.p.level == "none":
            of_clip = FULL_SCALE
        left = (self.n - len(x)) // 2
        padded = np.pad(x, (left, self.n - len(x) - left))
        starts = np.arange(self.frames) * self.p.hop_length
        return self.limited(
            np.array([self.frame(padded[s : s + self.p.n_fft], of_clip) for s in starts])
        )

    def limited(self, features: np.ndarray) -> np.ndarray:
        limit = spectra.limit(self.p)
        return np.clip(features, -limit, limit).astype(np.float32)


class StreamingFrontEnd:
    """A clip whose samples arrive a few at a time; none are kept but those of one frame.

    Parameters
    ----------
    front_end : where the coefficients come from
    n : how many samples will come; those that lack are padding on both sides
    running : correct each frame at once, not at the end
    """

    def __init__(self, front_end: DeviceFrontEnd, n: int, running: bool) -> None:
        self._front_end = front_end
        self._running = running
        self._levelled = cmsis.levelled(front_end.p)
        self._level = Level(front_end.n)
        self._history = np.zeros(0, np.int16)
        self._rows: list[np.ndarray] = []
        self._append(np.zeros((front_end.n - n) // 2, np.int16), heard=False)

    def hear(self, x: np.ndarray) -> list[np.ndarray]:
        """More samples, int16 [shape=(any,)]. The rows so far; of a running stream they are final."""
        self._append(x, heard=True)
        return self._rows

    def finish(self) -> np.ndarray:
        """Features [shape=(frames, bins)], float32; AudioError where the clip is silence."""
        self._append(np.zeros(self._front_end.n, np.int16), heard=False)
        level = _above_silence(self._level.value())
        rows = np.array(self._rows)
        if not self._running:
            rows[:, : self._levelled] = self._corrected(rows[:, : self._levelled], level)
        return self._front_end.limited(rows)

    def _append(self, x: np.ndarray, heard: bool) -> None:
        n_fft, hop_length = self._front_end.p.n_fft, self._front_end.p.hop_length
        while len(x):
            taken = x[: n_fft - len(self._history)]
            x = x[len(taken) :]
            self._history = np.concatenate([self._history, taken])
            if heard:
                self._level.hear(taken)
            if len(self._history) == n_fft:
                if len(self._rows) < self._front_end.frames:
                    self._rows.append(self._row(self._history))
                self._history = self._history[hop_length:]

    def _row(self, frame: np.ndarray) -> np.ndarray:
        level = self._level.value()
        row = self._front_end.frame(frame, limit=level if self._levelled else FULL_SCALE)
        if self._running:
            row[: self._levelled] = self._corrected(row[: self._levelled], level)
            row = self._front_end.limited(row)
        return row

    def _corrected(self, features: np.ndarray, level: float) -> np.ndarray:
        p = self._front_end.p
        if level == 0:  # silence so far
            return np.full_like(features, cmsis.silent(p))
        if p.kind == "log_mel":
            bands = np.maximum(np.exp(features) - p.log_offset, 0)
            return np.log(bands * (FULL_SCALE / level) + p.log_offset)
        return features - cmsis.per_log_level(p) * np.log(level / FULL_SCALE)


def _above_silence(level: float) -> float:
    if level <= 0:
        raise AudioError(f"the level of the clip is {level}, expected speech: leave the clip out")
    return level


def ram(
    mode: Mode, samples: int, frames: int, n_fft: int, levelled: int, with_cmsis: bool
) -> dict[str, int]:
    """Bytes of RAM that the front end in C (f32) takes on a 32-bit processor, by name.

    The rows of features are not among them: they are the network's input tensor. A test compares
    these figures with what an Arm compiler allocates, those with CMSIS-DSP where its headers are.

    Parameters
    ----------
    samples, frames : of a clip
    levelled : features of a frame that change with the level
    with_cmsis : with CMSIS-DSP's arm_mfcc_f32, whose arm_cmplx_mag_f32 reads 2 · n_fft floats of
        its working memory; the portable code needs none
    """
    used = {"frame": 4 * n_fft, "level": 4 + 4 * -(-Level(samples).kept // 2)}
    if with_cmsis:
        used["cmsis scratch"] = 8 * n_fft + _CMSIS_INSTANCE
    if mode == "whole":
        return {"audio": 2 * samples, **used, "state": 16}
    used["audio"] = 2 * n_fft
    if mode == "deferred":
        used["late"] = 4 * frames * levelled
    return {**used, "state": 32}


@dataclass(frozen=True)
class Chain:
    """A way from samples to features on the device."""

    kind: Kind
    mode: Mode


CHAINS = {
    "cmsis_f32": Chain("f32", "whole"),
    "cmsis_f32_deferred": Chain("f32", "deferred"),
    "cmsis_f32_running": Chain("f32", "running"),
    "cmsis_q31": Chain("q31", "whole"),
    "cmsis_q15": Chain("q15", "whole"),
}


def of_clips(
    clips: dict[str, Path], chain: Chain, input_len: float, sample_rate: int, p: Features,
    change: Change | None = None,
) -> np.ndarray:  # fmt: skip
    """Features [shape=(clips, frames, bins)], float32, of wav files, computed in parallel.

    Parameters
    ----------
    clips : the files by clip id
    change : what happens to the int16 samples before the front end hears them

    Raises
    ------
    AudioError
        A clip is silence; the message names it.
    """
    names = list(clips)
    batches = [
        {name: clips[name] for name in names[i : i + _BATCH]} for i in range(0, len(names), _BATCH)
    ]
    calls = [(batch, chain, input_len, sample_rate, p, change) for batch in batches]
    return np.concatenate(list(workers.run(_of_batch, calls)))


def _of_batch(
    clips: dict[str, Path], chain: Chain, input_len: float, sample_rate: int, p: Features,
    change: Change | None,
) -> np.ndarray:  # fmt: skip
    front_end = DeviceFrontEnd(chain.kind, input_len, sample_rate, p)
    features = []
    for clip, file in clips.items():
        x = to_int16(wavfile.read(file)[1])
        if change is not None:
            x = change(x, clip, sample_rate)
        try:
            features.append(front_end.features(x, chain.mode))
        except AudioError as problem:
            raise AudioError(f"{clip}: {problem}") from None
    return np.array(features)
