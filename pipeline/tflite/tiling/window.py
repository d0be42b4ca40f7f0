"""Which rows of its input an operator needs for which rows of its output.

Rows are positions on axis 1, which is time. TensorFlow's SAME padding of n elements with a kernel k
(k − 1 times the dilation, plus 1) and a stride s: ⌈n / s⌉ outputs, max(0, (⌈n / s⌉ − 1)·s + k − n)
elements of padding, the smaller half of them before the first.
"""

from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import ModelError
from pipeline.tflite.graph import CONVOLUTIONS, POOLS

# These compute a row of their output from the same row of their inputs.
ROW_BY_ROW = (
    "ADD", "CONCATENATION", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "MUL", "QUANTIZE", "RELU",
    "RELU6", "SUB", "TANH",
)  # fmt: skip


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Elements of SAME padding before and after."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class Axis:
    """An operator along one axis: its window, and the padding before and after."""

    kernel: int
    stride: int
    before: int
    after: int

    def needs(self, start: int, end: int, size: int) -> "Piece":
        """What outputs start … end − 1 need of an input with `size` elements."""
        first = start * self.stride - self.before
        last = (end - 1) * self.stride - self.before + self.kernel
        return Piece(max(0, first), min(size, last), max(0, -first), max(0, last - size))


@dataclass(frozen=True)
class Piece:
    """Elements start … end − 1 of an input, with padding before and after."""

    start: int
    end: int
    before: int
    after: int


@dataclass(frozen=True)
class Window:
    """A convolution or pool: rows (time), columns, and the kind of padding it was given."""

    rows: Axis
    columns: Axis
    padding: int

    def padding_for(self, piece: Piece, outputs: int) -> int | None:
        """The padding with which the operator pads this piece as it must be; None where none does.

        Columns are as they were, so that SAME stays right for them where it was, and VALID is right
        where there is nothing to pad.
        """
        size = piece.end - piece.start
        same = same_padding(size, self.rows.kernel, self.rows.stride) == (piece.before, piece.after)
        if self.padding == schema.Padding.SAME and same and -(-size // self.rows.stride) == outputs:
            return schema.Padding.SAME
        padded = piece.before + piece.after + self.columns.before + self.columns.after
        return schema.Padding.VALID if padded == 0 else None


def window(
    name: str, options: Any, input_shape: tuple[int, ...], kernel: tuple[int, int]
) -> Window:
    """The window of a convolution (`kernel` from its weights) or a pool (`kernel` from `options`)."""
    dilation = (1, 1)
    if name in CONVOLUTIONS:
        dilation = (options.dilationHFactor, options.dilationWFactor)
    axes = []
    for size, width, stride, factor in zip(
        input_shape[1:3], kernel, (options.strideH, options.strideW), dilation, strict=True
    ):
        reach = (width - 1) * factor + 1
        padding = (
            same_padding(size, reach, stride) if options.padding == schema.Padding.SAME else (0, 0)
        )
        axes.append(Axis(reach, stride, *padding))
    return Window(axes[0], axes[1], options.padding)


def blocks(name: str, shapes: list[tuple[int, ...]], options: Any) -> str:
    """Why an operator cannot run slab by slab, given its inputs' and output's shapes; "" if it can."""
    if any(len(shape) != 4 or shape[0] != 1 for shape in shapes):
        return f"{name} has a tensor that is not 1×frames×bins×channels"
    if name in CONVOLUTIONS or name in POOLS:
        return ""
    if name not in ROW_BY_ROW:
        return f"{name} is not known to keep time apart"
    if len({shape[1] for shape in shapes}) > 1:
        return f"{name} joins tensors of different lengths in time"
    if name == "CONCATENATION" and options.axis in (1, -3):
        return "CONCATENATION joins along time"
    return ""


def require(reason: str) -> None:
    """Refuse with `reason`, unless it is empty."""
    if reason:
        raise ModelError(f"the model cannot run slab by slab: {reason}")
