"""Whether TFLite Micro computes what LiteRT's reference kernels do: the scores are then the device's."""

from dataclasses import dataclass

import numpy as np

from pipeline.mcu import require_clips
from pipeline.mcu.arena import Micro
from pipeline.tflite import graph
from pipeline.tflite.int8 import Int8Model


@dataclass(frozen=True)
class Disagreement:
    """Largest differences, in steps, between TFLite Micro and LiteRT's reference kernels."""

    outputs: int
    inner_tensors: int


def disagreement(content: bytes, x: np.ndarray, arena_bytes: int) -> Disagreement:
    """Compare the two runtimes on clips `x` [shape=(clips, frames, bins, 1)].

    Outputs are compared in an arena of `arena_bytes`. The softmax at the end hides most errors
    before it, so the output of every operator is compared as well, in an arena that keeps them all.

    Raises
    ------
    ValueError
        There are no clips.
    """
    require_clips(x)
    model = Int8Model(content, keep_tensors=True)
    read = graph.read(content)
    in_arena = Micro(content, arena_bytes)
    ample = 2 * sum(tensor.bytes for tensor in read.tensors) + (1 << 18)
    keeping = Micro(content, ample, keep_tensors=True)
    outputs = inner = 0
    for row in range(len(x)):
        clip = x[row : row + 1]
        said = model.run(clip).astype(int)
        outputs = max(outputs, _largest(in_arena.run(model.quantized(clip)) - said))
        keeping.run(model.quantized(clip))
        for operator in read.operators:
            for number in operator.outputs:
                difference = model.tensor(number).astype(int) - keeping.tensor(number)
                inner = max(inner, _largest(difference))
    return Disagreement(outputs, inner)


def _largest(difference: np.ndarray) -> int:
    return int(np.abs(difference).max())
