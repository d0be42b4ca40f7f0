"""Any format that libsndfile reads, to mono at one rate."""

import struct
from pathlib import Path

import numpy as np
import soundfile
import soxr

from pipeline.errors import AudioError

_UNKNOWN_SIZE = (0, 0xFFFFFFFF)  # written by programs that stream and never go back to the header
_LONGEST = 24 * 3600  # seconds of a recording


def _check_whole(file: Path) -> None:
    """libsndfile silently plays what is left of a wav that was cut off; this does not."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        header = stream.read(12)
        if header[:4] != b"RIFF" or header[8:12] != b"WAVE":
            return
        while len(chunk := stream.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"data":
                left = size - stream.tell()
                if length not in _UNKNOWN_SIZE and length > left:
                    raise AudioError(
                        f"{file}: truncated, the header promises {length} bytes of samples and {left} are there; copy it again"
                    )
                return
            stream.seek(length + length % 2, 1)


def _check_length(file: Path) -> None:
    """A header of flac may leave the length open or claim any; no array is as long as these say."""
    info = soundfile.info(file)
    if info.frames > _LONGEST * info.samplerate:
        raise AudioError(
            f"{file}: its header does not say how long it is, or more than {_LONGEST // 3600} hours; "
            f"write it anew, as `ffmpeg -i {file.name} new.wav` does"
        )


def decode(file: Path, sample_rate: int) -> np.ndarray:
    """Read a recording.

    Parameters
    ----------
    file : any rate, bit depth and number of channels; channels are averaged
    sample_rate : of the result, in Hz

    Returns
    -------
    y : np.ndarray [shape=(n,)], float32, full scale is plus or minus 1

    Raises
    ------
    AudioError
        The file is missing, is empty, is a wav that was cut off, has a header with a length that
        cannot be, or is no audio.
    """
    try:
        if file.stat().st_size == 0:
            raise AudioError(f"{file}: empty, 0 bytes; copy it again or leave it out")
        _check_whole(file)
        _check_length(file)
        y, native_rate = soundfile.read(file, dtype="float32", always_2d=True)
    except OSError as error:
        raise AudioError(f"{file}: cannot be read: {error.strerror}") from None
    except (soundfile.LibsndfileError, TypeError) as error:  # a .raw file lacks a rate: TypeError
        raise AudioError(
            f"{file}: not audio that libsndfile reads (wav, flac, ogg, mp3, …): {error}"
        ) from None
    if len(y) == 0:
        raise AudioError(f"{file}: no samples; leave it out")
    mono = y.mean(axis=1)
    if native_rate != sample_rate:
        mono = soxr.resample(mono, native_rate, sample_rate, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32)
