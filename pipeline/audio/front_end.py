"""A recording to the network's input, cached by what the recording is and not by what it is called."""

import sys
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from pipeline.audio import cut as cut_module
from pipeline.audio import spectra
from pipeline.cache import cached, code_version, same_code
from pipeline.params import Features

# All that a clip's features follow from, beside their arguments.
PARTS = (sys.modules[__name__], Features, cut_module, spectra)
CODE = code_version(*PARTS, packages=("librosa", "numpy", "scipy"))


def features(y: np.ndarray, input_len: float, sample_rate: int, p: Features) -> np.ndarray:
    """Features of a recording of any length [shape=(frames, bins)], float32.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    input_len : what the network sees, in seconds
    sample_rate : of `y`, in Hz

    Raises
    ------
    AudioError
        The recording's middle is silence, or not finite.
    """
    n = round(input_len * sample_rate)
    return spectra.features(cut_module.cut(y, n, p.level == "clip"), sample_rate, p)


def _of_file(
    audio: Path, sha256: str, input_len: float, sample_rate: int, p: Features
) -> np.ndarray:
    """Features of a wav file; `sha256` stands for its samples."""
    return features(wavfile.read(audio)[1], input_len, sample_rate, p)


class CachedFrontEnd:
    """The front end with its results kept on disk; `known` says whether a result is there."""

    def __init__(self, input_len: float, sample_rate: int, p: Features) -> None:
        self._code = CODE
        self._recall = cached(_of_file, CODE, ignore=["audio"])
        self._arguments = (input_len, sample_rate, p)

    def known(self, audio: Path, sha256: str) -> bool:
        return self._recall.check_call_in_cache(audio, sha256, *self._arguments)

    def __call__(self, audio: Path, sha256: str) -> np.ndarray:
        """Features of the wav file `audio`, whose samples have the digest `sha256`.

        Raises
        ------
        StaleCodeError
            This process has other code than the one that made the front end.
        """
        same_code(CODE, self._code)
        return self._recall(audio, sha256, *self._arguments)
