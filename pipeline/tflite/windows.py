"""What a convolution or a pool slides over time and frequency, and where it pads.

TensorFlow's SAME padding of n elements with a kernel that reaches over r of them and a stride s:
⌈n / s⌉ outputs, max(0, (⌈n / s⌉ − 1)·s + r − n) elements of padding, the smaller half of them before the
first.
"""

from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from pipeline.tflite.graph import CONVOLUTIONS, POOLS, Graph, Operator


@dataclass(frozen=True)
class Axis:
    """An operator along one axis.

    Output n covers the inputs n · stride − before + k · dilation, k = 0 … kernel − 1; `after` is the
    padding behind the last input.
    """

    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def reach(self) -> int:
        """Inputs from the first that an output covers to the last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def one_to_one(self) -> bool:
        """Whether output n depends on input n only."""
        return self.kernel == 1 and self.stride == 1 and self.before == 0


@dataclass(frozen=True)
class Window:
    """Along time (`rows`) and frequency (`columns`), with the schema's kind of `padding`."""

    rows: Axis
    columns: Axis
    padding: int


def same_padding(size: int, reach: int, stride: int) -> tuple[int, int]:
    """Elements of SAME padding before and after."""
    total = max(0, (-(-size // stride) - 1) * stride + reach - size)
    return total // 2, total - total // 2


def window(operator: Operator, options: Any, read: Graph) -> Window | None:
    """The window of a convolution or a pool; None of any other operator.

    Parameters
    ----------
    operator : of `read`
    options : the schema's of this operator
    """
    dilation = (1, 1)
    if operator.name in CONVOLUTIONS:
        kernel = read.tensors[operator.inputs[1]].shape[1:3]
        dilation = (options.dilationHFactor, options.dilationWFactor)
    elif operator.name in POOLS:
        kernel = (options.filterHeight, options.filterWidth)
    else:
        return None
    sizes, strides = read.tensors[operator.inputs[0]].shape[1:3], (options.strideH, options.strideW)
    rows, columns = (
        _axis(*of, options.padding) for of in zip(sizes, kernel, strides, dilation, strict=True)
    )
    return Window(rows, columns, options.padding)


def _axis(size: int, kernel: int, stride: int, dilation: int, padding: int) -> Axis:
    unpadded = Axis(int(kernel), int(stride), int(dilation), 0, 0)
    if padding != schema.Padding.SAME:
        return unpadded
    before, after = same_padding(size, unpadded.reach, unpadded.stride)
    return Axis(unpadded.kernel, unpadded.stride, unpadded.dilation, before, after)
