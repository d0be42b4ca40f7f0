"""A network in parts as the tables that the bundle's driver walks."""

from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from pipeline.mcu.stream import Memory
from pipeline.tflite import graph
from pipeline.tflite.streaming import Streamed
from pipeline.tflite.streaming.plan import Mean, StreamingPlan, StreamProgress


@dataclass(frozen=True)
class StreamTables:
    """Rows of the C tables, their fields in the order of sernet_stream_plan.h.

    models : a flatbuffer for each part, the head's last
    row_bytes : of all line buffers
    arena_bytes : for one allocator that the parts share, with TFLite Micro's reference kernels
    part_arena_bytes : for each part and the head where they share nothing, with the same kernels
    hop_macs : multiply-accumulates that each frame makes due, those of the head for a result included
    """

    lines: list[tuple[int, ...]]
    inputs: list[tuple[int, ...]]
    parts: list[tuple[int, ...]]
    mean: Mean
    models: list[bytes]
    row_bytes: int
    arena_bytes: int
    part_arena_bytes: list[int]
    hop_macs: list[int]

    def backlog(self, hop_length: int) -> int:
        """Samples that arrive while a board works that only just keeps up with a whole clip.

        A faster board falls less behind; one that is slower does not keep up.

        Parameters
        ----------
        hop_length : in samples
        """
        mean = sum(self.hop_macs) / len(self.hop_macs)
        due = most = 0.0
        for macs in self.hop_macs:
            due += macs
            most = max(most, due)
            due = max(0.0, due - mean)
        return ceil(most / mean * hop_length)

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
        """Bytes beside the arena, by name, with pointers of 32 bits."""
        counters = 4 * (1 + len(self.lines) + len(self.parts))
        return {
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
    head_macs = graph.read(streamed.head).macs()
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
        hop_macs=[macs + head_macs for macs in _due(plan)],
    )


def _due(plan: StreamingPlan) -> list[int]:
    """Multiply-accumulates of the steps that each frame of a clip makes possible."""
    progress = StreamProgress(plan)
    macs = [0] * plan.frames
    for frame in range(plan.frames):
        progress.written[0] += 1
        for number in progress.ready():
            progress.written[plan.parts[number].output] += 1
            macs[frame] += plan.parts[number].macs
    return macs
