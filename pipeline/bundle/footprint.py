"""Flash and RAM that a bundle takes beside code, as an Arm compiler lays it out."""

from typing import Literal, get_args

from pipeline.bundle import constants
from pipeline.bundle.config import Config
from pipeline.bundle.schedule import StreamTables
from pipeline.mcu import front_end
from pipeline.mcu.front_end import Mode
from pipeline.tflite.card import Card

Way = Literal["whole", "deferred", "stream"]
WAYS: tuple[Way, ...] = get_args(Way)
CMSIS_OR_NOT = {"portable": False, "CMSIS-DSP": True}


def flash(model: bytes, card: Card, cmsis: bool = False) -> dict[str, int]:
    """Bytes of flash that the constants take, by name; the code is not among them.

    Parameters
    ----------
    cmsis : with CMSIS-DSP, which brings its own tables for the FFT: a complex FFT of half the
        length, its bit reversal, and the step from there to the real one
    """
    tables = constants.make(card.sample_rate, card.feature_params()).bytes(cmsis)
    labels = sum(len(label.encode()) + 1 for label in card.labels) + 4 * len(card.labels)
    return {"model": len(model), "labels": labels, **tables}


def ram(
    config: Config, way: Way, cmsis: bool = False, stream: StreamTables | None = None
) -> dict[str, int]:
    """Bytes of static RAM on a processor with pointers of 32 bits, by name; no stack.

    Parameters
    ----------
    way : `whole`, the clip is recorded, then classified; `deferred`, frames are computed as samples
        arrive, then classified; `stream`, the network too runs as frames arrive
    cmsis : with CMSIS-DSP, whose arm_mfcc_f32 needs more working memory
    stream : of the network in parts, where `way` is `stream`
    """
    mode: Mode = "running" if way == "stream" else way
    beside = front_end.ram(
        mode, config.samples, config.frames, config.n_fft, config.levelled, cmsis
    )
    if way != "stream":
        return {"arena": config.arena_bytes, "scratch": config.scratch_bytes, **beside}
    assert stream is not None, "a way to stream needs the parts"
    # Parts run one at a time, so that the scratch memory of one is all there is.
    return {
        "arena": stream.arena_bytes,
        "scratch": config.stream_scratch_bytes,
        **stream.ram,
        **beside,
    }
