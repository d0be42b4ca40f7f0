"""Whether a rewritten model computes what the plain one does, to the bit."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ModelError
from pipeline.mcu import require_clips
from pipeline.mcu.arena import Micro
from pipeline.tflite import flatbuffer, graph, memory_plan
from pipeline.tflite.int8 import Int8Model


@dataclass(frozen=True)
class Difference:
    """The largest differences, in steps of int8, from the plain model in LiteRT's reference kernels.

    outputs_micro, outputs_litert : of the rewritten model's outputs, in TFLite Micro and in LiteRT
    inner_micro, inner_litert : of its last convolution's, which softmax does not hide
    """

    outputs_micro: int
    outputs_litert: int
    inner_micro: int
    inner_litert: int

    @property
    def largest(self) -> int:
        return max(self.outputs_micro, self.outputs_litert, self.inner_micro, self.inner_litert)


def truncated(content: bytes, number: int) -> bytes:
    """The model up to tensor `number`, which becomes its output; its memory plan stays as it was."""
    model = flatbuffer.unpack(content)
    offsets = memory_plan.read(content)
    subgraph = model.subgraphs[0]
    needed, kept = {number}, []
    for operator in reversed(subgraph.operators):
        if needed & {int(n) for n in operator.outputs}:
            needed |= {int(n) for n in operator.inputs}
            kept.append(operator)
    subgraph.operators = kept[::-1]
    subgraph.outputs = np.array([number], np.int32)
    model.signatureDefs = None
    memory_plan.detach(model)
    tensors = flatbuffer.renumber(model)
    if offsets is not None:
        memory_plan.attach(
            model, {new: offsets[old] for old, new in tensors.items() if old in offsets}
        )
    return flatbuffer.pack(model)


def difference(plain: bytes, rewritten: bytes, x: np.ndarray, arena_bytes: int) -> Difference:
    """Compare two models on clips.

    Parameters
    ----------
    plain, rewritten : int8 models with the same input and output
    x : features [shape=(clips, frames, bins, 1)]
    arena_bytes : the arena in which the rewritten model has to work

    Raises
    ------
    ModelError
        They differ in the shape or in the scale of their input or output.
    MemoryError
        The rewritten model needs a larger arena.
    ValueError
        There are no clips.
    """
    require_clips(x)
    outputs = _steps(plain, rewritten, x, arena_bytes)
    before, after = (truncated(c, graph.read(c).last_convolution()) for c in (plain, rewritten))
    inner = _steps(before, after, x, arena_bytes)
    return Difference(*outputs, *inner)


def _steps(plain: bytes, rewritten: bytes, x: np.ndarray, arena_bytes: int) -> tuple[int, int]:
    """Largest difference in TFLite Micro and in LiteRT."""
    shapes = [read.tensors[read.inputs[0]].shape for read in map(graph.read, (plain, rewritten))]
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"the two models differ in the shape of their input: {shapes[0]} and {shapes[1]}"
        )
    model, other = Int8Model(plain), Int8Model(rewritten)
    for what in ("input_quantization", "output_quantization"):
        if getattr(model, what) != getattr(other, what):
            raise ModelError(
                f"the two models differ in scale or zero point: {what} is {getattr(model, what)} and {getattr(other, what)}"
            )
    expected = model.run(x)
    return (
        _largest(expected, Micro(rewritten, arena_bytes).run(model.quantized(x))),
        _largest(expected, other.run(x)),
    )


def _largest(expected: np.ndarray, found: np.ndarray) -> int:
    if expected.shape != found.shape:
        raise ModelError(
            f"the two models differ in the shape of their output: {expected.shape[1:]} and {found.shape[1:]}"
        )
    return int(np.abs(expected.astype(np.int16) - found).max())
