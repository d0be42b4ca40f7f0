"""What a bundle says of its model, out of the graph and the card beside it."""

from dataclasses import dataclass

from pipeline.audio import spectra
from pipeline.audio.cut import PERCENTILE
from pipeline.bundle import constants
from pipeline.bundle.budgeted import Budgeted
from pipeline.bundle.c_code import float_literal
from pipeline.mcu import cmsis
from pipeline.tflite import graph
from pipeline.tflite.card import Card
from pipeline.tflite.int8 import Int8Model

NO_LIMIT = 1e6  # larger than any logarithm of a magnitude, and its steps fit 32 bits


@dataclass(frozen=True)
class Config:
    """What sernet_config.h says; the numbers that are no integers are C literals."""

    sample_rate: int
    samples: int
    frames: int
    n_fft: int
    hop_length: int
    n_mels: int
    bins: int
    filter_coefficients: int
    log_mel: bool
    log_offset: str
    arm_offset: str
    clip: str
    level_per_mille: int
    largest: int
    least_level: str
    shifted: int
    levelled: int
    per_log_level: str
    silent: str
    shift: str
    input_scale: str
    input_zero_point: int
    output_scale: str
    output_zero_point: int
    classes: int
    model_bytes: int
    arena_bytes: int
    scratch_bytes: int
    stream_scratch_bytes: int


def configure(model: bytes, card: Card, budgeted: Budgeted, least_level: float) -> Config:
    """Compare what the graph takes and gives with its card, and put both into one.

    Parameters
    ----------
    least_level : of a clip that is no silence, in steps of int16

    Raises
    ------
    ParamsError
        The device's front end has no such features.
    ModelError
        Card and graph do not belong together, or the graph is not in eight bits.
    """
    p = card.feature_params()
    filters = constants.make(card.sample_rate, p).frame.filters
    samples = round(card.input_len * card.sample_rate)
    frames = spectra.frames(samples, p)
    card.check(graph.read(model), frames)
    runner = Int8Model(model)
    (input_scale, input_zero), (output_scale, output_zero) = (
        runner.input_quantization, runner.output_quantization,
    )  # fmt: skip
    per_mille = round(10 * PERCENTILE)
    return Config(
        sample_rate=card.sample_rate,
        samples=samples,
        frames=frames,
        n_fft=p.n_fft,
        hop_length=p.hop_length,
        n_mels=p.n_mels,
        bins=p.bins,
        filter_coefficients=len(filters),
        log_mel=p.kind == "log_mel",
        log_offset=float_literal(p.log_offset),
        arm_offset=float_literal(cmsis.OFFSET),
        # What is not limited is limited by eight bits.
        clip=float_literal(min(spectra.limit(p), NO_LIMIT)),
        level_per_mille=per_mille,
        largest=samples - per_mille * (samples - 1) // 1000,
        least_level=float_literal(least_level),
        shifted=cmsis.shifted(p),
        levelled=cmsis.levelled(p),
        per_log_level=float_literal(cmsis.per_log_level(p)),
        silent=float_literal(cmsis.silent(p)),
        shift=float_literal(cmsis.shift(p)),
        input_scale=float_literal(input_scale),
        input_zero_point=int(input_zero),
        output_scale=float_literal(output_scale),
        output_zero_point=int(output_zero),
        classes=len(card.labels),
        model_bytes=len(model),
        arena_bytes=budgeted.arena_bytes,
        scratch_bytes=budgeted.scratch_bytes,
        stream_scratch_bytes=budgeted.stream_scratch_bytes,
    )
