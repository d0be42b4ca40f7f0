"""An uploaded recording to samples: within limits, and never on disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from pipeline.audio.decode import decode
from pipeline.errors import AudioError

MAX_BYTES = 20_000_000
MAX_SECONDS = 300
# Compression and channels make large arrays of small files: no more than stereo at 48 kHz gives.
MAX_SAMPLES = MAX_SECONDS * 48_000 * 2

_UNKNOWN = 2**62  # libsndfile's count for a flac whose writer never went back to the header


@contextmanager
def _in_memory(content: bytes) -> Iterator[Path]:
    """A path to `content` that no directory lists and that goes with the process."""
    descriptor = os.memfd_create("recording", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield Path(f"/proc/self/fd/{descriptor}")


def _check_length(file: Path) -> None:
    """Read the header alone, before anything is decoded."""
    try:
        found = soundfile.info(file)
    except soundfile.LibsndfileError:
        return  # decoding says what is wrong with it
    if found.frames >= _UNKNOWN:
        raise AudioError(f"{file}: does not say how long it is: save it anew as wav")
    if found.frames > MAX_SECONDS * found.samplerate:
        raise AudioError(
            f"{file}: lasts {found.frames / found.samplerate:.0f} s, expected at most {MAX_SECONDS} s: cut it"
        )
    if found.frames * found.channels > MAX_SAMPLES:
        raise AudioError(
            f"{file}: has {found.frames * found.channels:,} samples over {found.channels} channel(s), expected at most {MAX_SAMPLES:,}: mix it to mono or lower its rate"
        )


def samples(content: bytes, sample_rate: int) -> np.ndarray:
    """Decode a recording of any format and rate that `decode` takes.

    Parameters
    ----------
    content : the file
    sample_rate : of the result, in Hz

    Returns
    -------
    y : np.ndarray [shape=(n,)], float32

    Raises
    ------
    AudioError
        It is no recording, is damaged, or is over the limits; the message leaves the name to those
        who know it.
    """
    with _in_memory(content) as file:
        try:
            _check_length(file)
            return decode(file, sample_rate)
        except AudioError as problem:
            said = str(problem).removeprefix(f"{file}: ").replace(str(file), "the recording")
            raise AudioError(said) from None
