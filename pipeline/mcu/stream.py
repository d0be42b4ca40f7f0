"""A network in parts in the real TFLite Micro, and the memory that it takes there."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.mcu import require_clips
from pipeline.mcu.arena import ALIGNMENT, Micro, allocations
from pipeline.tflite import flatbuffer
from pipeline.tflite.int8 import Int8Model
from pipeline.tflite.streaming import Streamed
from pipeline.tflite.streaming.run import Invoke, StreamingInterpreter


class _Part(Micro):
    def invoke(self, values: list[np.ndarray]) -> np.ndarray:
        for number, value in enumerate(values):
            shape = self._interpreter.get_input_details(number)["shape"]
            self._interpreter.set_input(value.reshape(shape), number)
        self._interpreter.invoke()
        return self._interpreter.get_output(0).copy()


class _Plain(Int8Model):
    def output_of(self, clip: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input["index"], clip[np.newaxis])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"]).ravel()


@dataclass(frozen=True)
class PartArena:
    """Bytes of one part: an arena of its own, activations in it, what stays between its steps."""

    bytes: int
    activations: int
    persistent: int


@dataclass(frozen=True)
class Memory:
    """RAM of a network in parts, in bytes.

    TFLite Micro lets several interpreters share the part of an arena that holds activations, since
    one runs at a time: it counts once, as large as the largest part's. What interpreters keep
    between steps counts for each. So `total` is activations + persistent + line_buffers + input,
    and all that the network needs, whatever the clip's length. It is added up from what was measured
    of each part; what `compare` runs is `separate`, since the Python package has no shared allocator.

    activations : of the part with the largest, or what setting one up takes if that is more
    persistent : of all parts
    line_buffers : with the running sums of the average
    input : one frame, as it is handed over
    separate : the same with an arena for each part: no sharing at all
    parts : of each part in the plan's order, and of the head last
    macs, plain_macs : multiply-accumulates of a clip, in parts and undivided
    flash_bytes : of all parts' flatbuffers
    """

    activations: int
    persistent: int
    line_buffers: int
    input: int
    separate: int
    parts: tuple[PartArena, ...]
    macs: int
    plain_macs: int
    flash_bytes: int

    @property
    def total(self) -> int:
        return self.activations + self.persistent + self.line_buffers + self.input

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "total": self.total}


def arena(content: bytes) -> PartArena:
    """An arena in which a part is set up and runs; a part may have some to spare.

    The smallest is not searched for: TFLite Micro does not check all of its temporary memory while
    it sets a model up, and some arenas that are too small end the process.

    Raises
    ------
    ModelError
        TFLite Micro cannot run it.
    """
    found = allocations(content)
    size = _aligned(found["persistent"] + max(found["activations"], _setup_bytes(content)))
    while True:
        try:
            Micro(content, size)
            return PartArena(size, found["activations"], _aligned(found["persistent"]))
        except MemoryError:
            size += ALIGNMENT


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _setup_bytes(content: bytes) -> int:
    """Temporary memory while a part is set up, generously; it lies where activations will.

    Requests for scratch memory, and either the tensors of one operator with their zero points, or
    the planner's table of all tensors.
    """
    graph = flatbuffer.load(content).subgraphs[0]
    scales = [
        0 if t.quantization.scale is None else len(t.quantization.scale) for t in graph.tensors
    ]
    operators = [
        sum(128 + 8 * scales[t] for t in (*op.inputs, *op.outputs) if t >= 0)
        for op in graph.operators
    ]
    return 1024 + max(*operators, 128 * len(graph.tensors))


def memory(streamed: Streamed) -> Memory:
    """Measure what `streamed` needs in TFLite Micro on this machine."""
    parts = tuple(arena(content) for content in (*streamed.parts, streamed.head))
    plan = streamed.plan
    return Memory(
        activations=max(part.bytes - part.persistent for part in parts),
        persistent=sum(part.persistent for part in parts),
        line_buffers=plan.line_bytes,
        input=plan.lines[0].row_bytes,
        separate=sum(part.bytes for part in parts) + plan.line_bytes + plan.lines[0].row_bytes,
        parts=parts,
        macs=streamed.macs,
        plain_macs=streamed.plain_macs,
        flash_bytes=streamed.flash_bytes,
    )


@dataclass(frozen=True)
class Differences:
    """Clips in which the parts and the undivided network differ, by an output, by a line's row."""

    clips: int
    outputs: int
    rows: int


def compare(
    content: bytes,
    streamed: Streamed,
    clips: np.ndarray,
    runtime: Callable[[bytes], Invoke] | None = None,
) -> Differences:
    """Run int8 clips [shape=(clips, frames, bins, 1)] in parts and undivided.

    The undivided network runs in LiteRT's reference kernels, the parts in `runtime`, TFLite Micro
    with an arena for each part if not said otherwise. Rows are compared in every tensor that
    goes through a line buffer, the last convolution's among them: the softmax hides differences.

    Raises
    ------
    ValueError
        There are no clips.
    """
    require_clips(clips)
    made: dict[int, list[np.ndarray]] = {}
    stream = StreamingInterpreter(
        streamed, runtime or micro, lambda line, row: made.setdefault(line, []).append(row.copy())
    )
    plain = _Plain(content, keep_tensors=True)
    outputs = rows = 0
    for clip in clips:
        stream.reset()
        made.clear()
        stream.push(clip.reshape(len(clip), -1))
        output = stream.result()
        outputs += output is None or not np.array_equal(output, plain.output_of(clip))
        rows += any(
            not np.array_equal(
                np.array(made.get(number, [])), plain.tensor(line.tensor).reshape(line.height, -1)
            )
            for number, line in enumerate(streamed.plan.lines)
        )
    return Differences(len(clips), outputs, rows)


def micro(content: bytes) -> Invoke:
    """TFLite Micro, given an arena of the size that `arena` claims."""
    return _Part(content, arena(content).bytes).invoke
