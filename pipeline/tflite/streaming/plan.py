"""The schedule by which a network runs row by row as frames arrive.

A row is one step of time in a tensor [1, rows, columns, channels]. Parts of the network make one
row a step; line buffers keep the rows that a later part still reads, as a ring: row r is in place
r mod `rows`. All that a driver on the device has to know is in these tables.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import frexp
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LineBuffer:
    """A line buffer.

    tensor : the tensor's number in the undivided graph
    height : rows that arrive in a whole clip
    row_bytes : columns × channels
    zero_point : what stands in place of the rows before the first and after the last
    rows : how many are kept at a time; 0 where they are only summed
    """

    tensor: int
    height: int
    row_bytes: int
    zero_point: int
    rows: int = 0


@dataclass(frozen=True)
class PartInput:
    """An input of a part: windows of a line buffer, one below the other.

    Window w of step i is window n = min(i · windows + w, last) of the layer, and covers the rows
    n · stride − top + r · dilation for r = 0 … kernel − 1. It takes `rows` rows of the input. With
    `repeat`, a pool's, the rows that exist are repeated to fill them: an average over them, each
    as often as the others, is the average over the rows that exist. Otherwise `rows` equals
    `kernel`, and rows that do not exist are filled with the zero point.
    """

    line: int
    windows: int
    kernel: int
    stride: int
    dilation: int
    top: int
    last: int
    rows: int
    repeat: bool

    def row_numbers(self, step: int, height: int) -> list[int]:
        """The row of the line buffer for each row of the input; −1 for the zero point."""
        numbers = []
        for window in range(self.windows):
            first = min(step * self.windows + window, self.last) * self.stride - self.top
            if self.repeat:
                low, high = max(first, 0), min(first + self.kernel, height)
                numbers += [low + r * (high - low) // self.rows for r in range(self.rows)]
            else:
                covered = (first + r * self.dilation for r in range(self.kernel))
                numbers += [row if 0 <= row < height else -1 for row in covered]
        return numbers

    def rows_needed(self, step: int, height: int) -> int:
        """How many rows must have arrived for `step`."""
        window = min(step * self.windows + self.windows - 1, self.last)
        end = window * self.stride - self.top + (self.kernel - 1) * self.dilation + 1
        return max(0, min(end, height))

    def oldest(self, step: int) -> int:
        """The first row that `step` or a later one reads."""
        return max(0, min(step * self.windows, self.last) * self.stride - self.top)


@dataclass(frozen=True)
class Part:
    """A piece of the network with a flatbuffer of its own: one row of `output`, a line, a step.

    macs : multiply-accumulates of one step
    """

    inputs: tuple[PartInput, ...]
    output: int
    steps: int
    macs: int


@dataclass(frozen=True)
class Mean:
    """The average over time and columns, from running sums: what makes the memory independent of
    the clip's length.

    It is TFLite's MEAN in integers (`QuantizedMeanOrSum` of its reference kernels): multiplier and
    shift turn the input's scale into the output's, and are divided by the number of elements.
    """

    line: int
    columns: int
    channels: int
    zero_point: int
    multiplier: int
    shift: int
    output_zero_point: int

    def of(self, sums: np.ndarray, rows: int) -> np.ndarray:
        """int8 averages [shape=(channels,)] of `sums`, int32, over `rows` rows."""
        count = rows * self.columns
        by = min(count.bit_length() - 1, 32, 31 + self.shift)
        multiplier = (self.multiplier << by) // count
        scaled = _multiply(
            sums.astype(np.int64) - self.zero_point * count, multiplier, self.shift - by
        )
        return np.clip(scaled + self.output_zero_point, -128, 127).astype(np.int8)


def _multiply(x: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """`x` · multiplier / 2³¹ · 2^shift, rounded twice, as `MultiplyByQuantizedMultiplier` does."""
    product = (x << max(shift, 0)) * multiplier
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(nudged >= 0, nudged >> 31, -(-nudged >> 31))  # division towards zero
    right = max(-shift, 0)
    mask = (1 << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))


def quantized_multiplier(ratio: float) -> tuple[int, int]:
    """`ratio` as multiplier / 2³¹ · 2^shift, as `QuantizeMultiplier` of TFLite finds them."""
    mantissa, shift = frexp(ratio)
    multiplier = int(mantissa * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        return multiplier // 2, shift + 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


@dataclass(frozen=True)
class StreamingPlan:
    """Line 0 takes the frames; parts are in an order in which data flows one way."""

    lines: tuple[LineBuffer, ...]
    parts: tuple[Part, ...]
    mean: Mean

    @property
    def frames(self) -> int:
        """Frames of a whole clip."""
        return self.lines[0].height

    @property
    def line_bytes(self) -> int:
        """Memory of the line buffers and of the running sums, in bytes."""
        return sum(line.rows * line.row_bytes for line in self.lines) + 4 * self.mean.channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all steps of a clip, without the head after the average."""
        return sum(part.steps * part.macs for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dictionaries and numbers."""
        return asdict(self)


class StreamProgress:
    """How far a clip has come: what a driver keeps beside the rows themselves."""

    def __init__(self, plan: StreamingPlan) -> None:
        self._plan = plan
        self.written = [0] * len(plan.lines)
        self.steps = [0] * len(plan.parts)

    def ready(self) -> Iterator[int]:
        """Parts to run now, the ones nearest to the end first, so that few rows wait.

        The caller writes the row that the part makes before it asks for the next part.
        """
        number = len(self._plan.parts) - 1
        while number >= 0:
            if self._is_ready(self._plan.parts[number], self.steps[number]):
                yield number
                self.steps[number] += 1
                number = len(self._plan.parts) - 1
            else:
                number -= 1

    def _is_ready(self, part: Part, step: int) -> bool:
        return step < part.steps and all(
            self.written[i.line] >= i.rows_needed(step, self._plan.lines[i.line].height)
            for i in part.inputs
        )

    def waiting(self, line: int) -> int:
        """Rows of `line` that have arrived and that some part still reads."""
        oldest = [
            i.oldest(step)
            for part, step in zip(self._plan.parts, self.steps, strict=True)
            for i in part.inputs
            if i.line == line and step < part.steps
        ]
        return max(0, self.written[line] - min(oldest, default=self.written[line]))


def rows_kept(plan: StreamingPlan) -> list[int]:
    """The most rows that wait in each line buffer, from walking through the schedule."""
    progress = StreamProgress(plan)
    most = [0] * len(plan.lines)

    def write(line: int) -> None:
        progress.written[line] += 1
        most[line] = max(most[line], progress.waiting(line))

    for _ in range(plan.frames):
        write(0)
        for number in progress.ready():
            write(plan.parts[number].output)
    return most
