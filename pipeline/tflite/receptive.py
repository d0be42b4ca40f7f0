"""How much of the input each tensor depends on: the paper's Eq. 1 and 2, per axis.

Going back from one value of the last layer (r = 1), layer l with kernel k and stride s reads

    r_{l-1} = s_l · r_l + (k_l − s_l)                       (1)

and so, over all layers,

    r_0 = Σ_l (k_l − 1) · Π_{i<l} s_i + 1.                  (2)

Walking forward, each layer adds one term of (2), with the product of the strides so far as the
tensor's `jump`: the distance, in the input, of two neighbouring values. Where paths meet, the
largest receptive field counts, which is their union for paths centred alike, as this family's are.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.tflite import flatbuffer
from pipeline.tflite.graph import Graph
from pipeline.tflite.windows import Window, window

Pair = tuple[int, int]  # along time, along frequency

# These read, for each value, the same place of their inputs.
POINTWISE = frozenset({
    "CONCATENATION", "ADD", "SUB", "MUL", "RELU", "RELU6", "LOGISTIC", "TANH", "SOFTMAX",
    "QUANTIZE", "DEQUANTIZE", "CAST", "PAD", "PADV2", "SLICE", "SPLIT", "SPLIT_V",
})  # fmt: skip


@dataclass(frozen=True)
class Field:
    """Receptive field and jump of a tensor's values, in frames and in bins of the input.

    By the equations, thus including padding: near the end of a deep network it exceeds the input.
    """

    size: Pair = (1, 1)
    jump: Pair = (1, 1)

    def through(self, kernel: Pair, stride: Pair) -> "Field":
        """The field behind a layer: one more term of Eq. 2."""
        grown = [r + (k - 1) * j for r, k, j in zip(self.size, kernel, self.jump, strict=True)]
        jumps = [j * s for j, s in zip(self.jump, stride, strict=True)]
        return Field((grown[0], grown[1]), (jumps[0], jumps[1]))


def windows(content: bytes, read: Graph) -> list[Window | None]:
    """The window of each operator, None for those that have none.

    Parameters
    ----------
    content : the flatbuffer
    read : the same, read
    """
    raw = flatbuffer.load(content).subgraphs[0].operators
    return [
        window(operator, of.builtinOptions, read)
        for operator, of in zip(read.operators, raw, strict=True)
    ]


def fields(content: bytes, read: Graph) -> list[Field | None]:
    """The receptive field of each tensor, by its number.

    None for constants, for what depends on no input, and for what lies behind an operator whose
    window is not known.
    """
    raw = flatbuffer.load(content)
    found: list[Field | None] = [None] * len(read.tensors)
    for number in read.inputs:
        found[number] = Field()
    for operator, slid in zip(read.operators, windows(content, read), strict=True):
        sources = [n for n in operator.inputs if not read.tensors[n].constant]
        before = [found[n] for n in sources]
        known = [field for field in before if field is not None]
        if not known or len(known) < len(before):
            continue
        if len({field.jump for field in known}) > 1:
            continue  # values of different spacing side by side have no one field
        met = Field((max(f.size[0] for f in known), max(f.size[1] for f in known)), known[0].jump)
        shape = read.tensors[sources[0]].shape
        for output in operator.outputs:
            if slid is not None:
                found[output] = met.through(*pairs(slid))
            elif operator.name in POINTWISE:
                found[output] = met
            elif operator.name == "STRIDED_SLICE":
                steps = _values(raw, operator.inputs[3])
                if len(steps) == len(shape) == len(read.tensors[output].shape) == 4:
                    found[output] = met.through((1, 1), (steps[1], steps[2]))
            elif operator.name == "MEAN":
                axes = {axis % len(shape) for axis in _values(raw, operator.inputs[1])}
                along = [n if axis in axes else 1 for axis, n in _spatial(shape)]
                found[output] = met.through((along[0], along[1]), (1, 1))
            elif operator.name in ("RESHAPE", "FULLY_CONNECTED"):
                if operator.name == "RESHAPE" and _keeps(shape, read.tensors[output].shape):
                    found[output] = met
                else:  # each value may now come from any place
                    along = [n for _, n in _spatial(shape)]
                    found[output] = met.through((along[0], along[1]), (1, 1))
    return found


def pairs(slid: Window) -> tuple[Pair, Pair]:
    """Kernel, dilation spanned, and stride."""
    return (slid.rows.reach, slid.columns.reach), (slid.rows.stride, slid.columns.stride)


def _spatial(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Number and extent of the axes of time and frequency; extent 1 where they are gone."""
    return [(axis, shape[axis] if len(shape) == 4 else 1) for axis in (1, 2)]


def _keeps(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether a reshape leaves time and frequency where they are."""
    return len(before) == len(after) == 4 and before[1:3] == after[1:3]


def _values(raw: Any, tensor: int) -> list[int]:
    """A constant tensor of 32-bit integers."""
    buffer = raw.buffers[raw.subgraphs[0].tensors[tensor].buffer].data
    return [int(n) for n in np.asarray(buffer, np.uint8).view(np.int32)]
