"""Any format that libsndfile reads, to mono at one rate."""

import struct
from pathlib import Path

import numpy as np
import soundfile
import soxr

from pipeline.errors import AudioError

# Of a file of chunks, by its first and third word: the order of bytes, and the chunk of the samples.
_CHUNKED = {
    (b"RIFF", b"WAVE"): ("<", b"data"),
    (b"RIFX", b"WAVE"): (">", b"data"),
    (b"FORM", b"AIFF"): (">", b"SSND"),
    (b"FORM", b"AIFC"): (">", b"SSND"),
}
# Programs that stream and never go back to the header write 0x7f000000 (SoX, aiff), 0x7ffff000 (SoX,
# wav), 0x7fffffff, 0x80000000 or 0xffffffff: no clip is that long.
_UNKNOWN_SIZE = 0x7F000000
_LONGEST = 24 * 3600  # seconds of a recording
_MP3_SLACK = 2 * 1152  # samples; encoders differ in whether the frame with the count counts itself


def _check_whole(file: Path) -> None:
    """libsndfile silently plays what is left of a wav or aiff that was cut off; this does not."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        header = stream.read(12)
        order, samples = _CHUNKED.get((header[:4], header[8:]), ("", b""))
        if not order:
            return
        while len(chunk := stream.read(8)) == 8:
            name, length = struct.unpack(f"{order}4sI", chunk)
            if name == samples:
                _check_samples(file, length, size - stream.tell())
                return
            stream.seek(length + length % 2, 1)


def _check_samples(file: Path, length: int, left: int) -> None:
    """AudioError where the header's `length` of the samples and the bytes `left` do not agree."""
    if length == 0 and left > 0:
        raise AudioError(
            f"{file}: its header is unfinished, it promises no samples and {left} bytes follow; "
            f"write it anew, as `ffmpeg -i {file.name} new.wav` does"
        )
    if left < length < _UNKNOWN_SIZE:
        raise AudioError(
            f"{file}: truncated, the header promises {length} bytes of samples and {left} are there; copy it again"
        )


def _counts_frames(file: Path) -> bool:
    """Whether this is an mp3 that says how long it is, in a Xing or Info header.

    Of any other mp3 libsndfile guesses the length from the first frame.
    """
    with file.open("rb") as stream:
        start = stream.read(10)
        stream.seek(0)
        if start[:3] == b"ID3":
            tag = 0
            for byte in start[6:]:  # seven bits each
                tag = tag << 7 | byte & 0x7F
            stream.seek(10 + tag)
        frame = stream.read(64)
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    return frame[:1] == b"\xff" and place > 0 and bool(frame[place + 7] & 1)


def _check_mp3(file: Path, read: int) -> None:
    """libsndfile silently plays what is left of an mp3, too."""
    if not _counts_frames(file):
        return
    promised = soundfile.info(file).frames
    if read < promised - _MP3_SLACK:
        raise AudioError(
            f"{file}: truncated, the header promises {promised} samples and {read} are there; copy it again"
        )


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

    A flac that was cut off is refused by libsndfile, a wav, an aiff and an mp3 with a Xing or Info
    header here. Of other formats, ogg among them, what is left is read: they do not say how long
    they were.

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
        The file is missing, is empty, was cut off, has a header with a length that cannot be, or
        is no audio.
    """
    try:
        if file.stat().st_size == 0:
            raise AudioError(f"{file}: empty, 0 bytes; copy it again or leave it out")
        _check_whole(file)
        _check_length(file)
        y, native_rate = soundfile.read(file, dtype="float32", always_2d=True)
        _check_mp3(file, len(y))
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
