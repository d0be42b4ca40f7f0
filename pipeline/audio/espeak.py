"""German speech from espeak-ng, out of the wheel `espeakng-loader`.

espeak-ng keeps state from one utterance to the next, so each is said in a process of its own: a
clip is then the same whatever was said before it. The processes are children of this module run
as a program, which imports little, so that each starts in a moment:

    python -m pipeline.audio.espeak FOLDER < utterances.json
"""

import ctypes
import json
import multiprocessing
import subprocess
import sys
import wave
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pipeline.errors import CorpusError

# Of espeak-ng's speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_RATE, _VOLUME, _PITCH, _RANGE, _WORDGAP = 1, 2, 3, 4, 7
_CHARS_UTF8, _END_PAUSE = 1, 0x1000


@dataclass(frozen=True)
class Utterance:
    """A sentence and how espeak-ng is to say it, in espeak-ng's own units.

    `rate` is in words a minute, `volume` in percent, `pitch` and `range` from 0 to 99 with 50 as
    the voice's own, `wordgap` in units of 10 ms. `name` is the file to write.
    """

    name: str
    text: str
    voice: str
    rate: int
    pitch: int
    range: int
    volume: int
    wordgap: int


def _say(utterance: Utterance) -> tuple[bytes, int]:
    """Samples of 16 bits, and their rate in Hz."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_Initialize.argtypes = [
        ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int,
    ]  # fmt: skip
    data = espeakng_loader.get_data_path().encode()
    sample_rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, 0)
    if sample_rate <= 0:
        raise RuntimeError(f"espeak-ng does not start (status {sample_rate})")
    # Fricatives come from the C library's random numbers.
    ctypes.CDLL(None).srand(1)

    chunks: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def receive(samples: int | None, n: int, events: int | None) -> int:
        if samples and n > 0:
            chunks.append(ctypes.string_at(samples, 2 * n))
        return 0

    library.espeak_SetSynthCallback(receive)
    if library.espeak_SetVoiceByName(utterance.voice.encode()) != 0:
        raise RuntimeError(f"espeak-ng has no voice {utterance.voice!r}")
    for parameter, value in (
        (_RATE, utterance.rate),
        (_VOLUME, utterance.volume),
        (_PITCH, utterance.pitch),
        (_RANGE, utterance.range),
        (_WORDGAP, utterance.wordgap),
    ):
        library.espeak_SetParameter(parameter, value, 0)
    text = utterance.text.encode()
    library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _CHARS_UTF8 | _END_PAUSE, None, None)
    library.espeak_Synchronize()
    return b"".join(chunks), sample_rate


def _write(folder: Path, utterance: Utterance) -> None:
    samples, sample_rate = _say(utterance)
    with wave.open(str(folder / utterance.name), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples)


def synthesize(utterances: list[Utterance], folder: Path) -> None:
    """Say each utterance and write it into `folder` as 16-bit mono wav.

    Raises
    ------
    CorpusError
        espeak-ng does not start, has no such voice, or one of its processes died.
    """
    child = subprocess.run(
        [sys.executable, "-m", "pipeline.audio.espeak", str(folder)],
        input=json.dumps([asdict(utterance) for utterance in utterances]),
        text=True,
        stderr=subprocess.PIPE,
    )
    if child.returncode != 0:
        said = child.stderr.strip().rpartition("\n")[2]
        raise CorpusError(
            f"the demo corpus could not be made: {said or f'its process ended with status {child.returncode}'}"
        )


def main() -> None:
    utterances = [Utterance(**fields) for fields in json.load(sys.stdin)]
    context = multiprocessing.get_context("forkserver")
    # Unlike multiprocessing's pool it notices when a process dies.
    with ProcessPoolExecutor(mp_context=context, max_tasks_per_child=1) as pool:
        list(pool.map(partial(_write, Path(sys.argv[1])), utterances))


if __name__ == "__main__":
    main()
