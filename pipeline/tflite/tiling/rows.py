"""Which rows of its input an operator needs for which rows of its output; rows are positions in time."""

from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import ModelError
from pipeline.tflite.graph import CONVOLUTIONS, POOLS
from pipeline.tflite.windows import Axis, Window, same_padding

# These compute a row of their output from the same row of their inputs.
ROW_BY_ROW = (
    "ADD", "CONCATENATION", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "MUL", "QUANTIZE", "RELU",
    "RELU6", "SUB", "TANH",
)  # fmt: skip


@dataclass(frozen=True)
class PaddedRange:
    """Elements start … end − 1 of an input, with padding before and after."""

    start: int
    end: int
    before: int
    after: int


def needs(axis: Axis, start: int, end: int, size: int) -> PaddedRange:
    """What outputs start … end − 1 need of an input with `size` elements."""
    first = start * axis.stride - axis.before
    last = (end - 1) * axis.stride - axis.before + axis.reach
    return PaddedRange(max(0, first), min(size, last), max(0, -first), max(0, last - size))


def padding_for(window: Window, piece: PaddedRange, outputs: int) -> int | None:
    """The padding with which an operator pads a piece of rows as it must be; None where none does.

    Columns are as they were, so that SAME stays right for them where it was, and VALID is right
    where there is nothing to pad.
    """
    size, rows = piece.end - piece.start, window.rows
    same = same_padding(size, rows.reach, rows.stride) == (piece.before, piece.after)
    if window.padding == schema.Padding.SAME and same and -(-size // rows.stride) == outputs:
        return schema.Padding.SAME
    padded = piece.before + piece.after + window.columns.before + window.columns.after
    return schema.Padding.VALID if padded == 0 else None


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
