"""A network in parts as the tables that the bundle's driver walks."""

from dataclasses import dataclass
from itertools import accumulate

from pipeline.mcu.stream import Memory
from pipeline.tflite.streaming import Streamed
from pipeline.tflite.streaming.plan import Mean


@dataclass(frozen=True)
class StreamTables:
    """Rows of the C tables, their fields in the order of sernet_stream_plan.h.

    models : a flatbuffer for each part, the head's last
    row_bytes : of all line buffers
    arena_bytes : for one allocator that the parts share, with TFLite Micro's reference kernels
    part_arena_bytes : for each part and the head where they share nothing, with the same kernels
    """

    lines: list[tuple[int, ...]]
    inputs: list[tuple[int, ...]]
    parts: list[tuple[int, ...]]
    mean: Mean
    models: list[bytes]
    row_bytes: int
    arena_bytes: int
    part_arena_bytes: list[int]

    @property
    def flash(self) -> dict[str, int]:
        """Bytes, by name, with pointers of 32 bits."""
        numbers = sum(len(row) for table in (self.lines, self.inputs, self.parts) for row in table)
        return {
            "parts": sum(map(len, self.models)),
            "schedule": 4 * numbers + 4 * len(self.models),
        }

    @property
    def ram(self) -> dict[str, int]:
        """Bytes, by name, with pointers of 32 bits."""
        counters = 4 * (1 + len(self.lines) + len(self.parts))
        return {
            "arena": self.arena_bytes,
            "line_buffers": self.row_bytes,
            "sums": 4 * self.mean.channels,
            "progress": counters,
        }


def tables(streamed: Streamed, memory: Memory) -> StreamTables:
    """The tables of `streamed`, whose memory in TFLite Micro was measured."""
    plan = streamed.plan
    sizes = [line.rows * line.row_bytes for line in plan.lines]
    offsets = accumulate(sizes[:-1], initial=0)
    first_inputs = accumulate((len(part.inputs) for part in plan.parts[:-1]), initial=0)
    return StreamTables(
        lines=[
            (offset, line.row_bytes, line.rows, line.height, line.zero_point)
            for offset, line in zip(offsets, plan.lines, strict=True)
        ],
        inputs=[
            (
                i.line,
                i.windows,
                i.kernel,
                i.stride,
                i.dilation,
                i.top,
                i.last,
                i.rows,
                int(i.repeat),
            )
            for part in plan.parts
            for i in part.inputs
        ],
        parts=[
            (first, len(part.inputs), part.output, part.steps)
            for first, part in zip(first_inputs, plan.parts, strict=True)
        ],
        mean=plan.mean,
        models=[*streamed.parts, streamed.head],
        row_bytes=sum(sizes),
        arena_bytes=memory.activations + memory.persistent,
        part_arena_bytes=[part.bytes for part in memory.parts],
    )
