"""Running a network in parts as frames arrive, whatever runs the parts."""

from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from pipeline.tflite.streaming import Streamed
from pipeline.tflite.streaming.plan import StreamProgress

# Runs a part: int8 inputs, each [shape=(1, rows, columns, channels)], to its output.
Invoke = Callable[[list[np.ndarray]], np.ndarray]


def litert(content: bytes) -> Invoke:
    """LiteRT's reference kernels."""
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    inputs = interpreter.get_input_details()
    output = interpreter.get_output_details()[0]["index"]

    def invoke(values: list[np.ndarray]) -> np.ndarray:
        for detail, value in zip(inputs, values, strict=True):
            interpreter.set_tensor(detail["index"], value.reshape(detail["shape"]))
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return invoke


class StreamingInterpreter:
    """A clip that arrives piece by piece.

    Parameters
    ----------
    streamed : the network
    runtime : makes what runs a flatbuffer
    watch : called with the number of a line and each row written to it [shape=(row_bytes,)]
    """

    def __init__(
        self,
        streamed: Streamed,
        runtime: Callable[[bytes], Invoke] = litert,
        watch: Callable[[int, np.ndarray], None] | None = None,
    ) -> None:
        self._plan = streamed.plan
        self._parts = [runtime(content) for content in streamed.parts]
        self._head = runtime(streamed.head)
        self._watch = watch
        self.reset()

    def reset(self) -> None:
        """Forget the clip."""
        self._progress = StreamProgress(self._plan)
        self._rings = [np.zeros((line.rows, line.row_bytes), np.int8) for line in self._plan.lines]
        self._sums = np.zeros(self._plan.mean.channels, np.int32)

    def push(self, rows: np.ndarray) -> None:
        """Take in frames, int8 [shape=(frames, bins)], and compute all that they make possible.

        Raises
        ------
        ValueError
            More frames than a clip has, or of another size or type.
        """
        first = self._plan.lines[0]
        if rows.dtype != np.int8 or rows.ndim != 2 or rows.shape[1] != first.row_bytes:
            raise ValueError(
                f"expected int8 frames of {first.row_bytes} values, got {rows.dtype} of shape {rows.shape}"
            )
        if self._progress.written[0] + len(rows) > first.height:
            raise ValueError(f"a clip has {first.height} frames, and no more can be pushed")
        for row in rows:
            self._write(0, row)
            for number in self._progress.ready():
                self._step(number)

    def result(self) -> np.ndarray | None:
        """int8 outputs [shape=(classes,)] for what has been heard; None before the first row of
        the average. After the last frame it is the plain model's output."""
        heard = self._progress.written[self._plan.mean.line]
        if heard == 0:
            return None
        return self._head([self._plan.mean.of(self._sums, heard)]).ravel()

    def _step(self, number: int) -> None:
        part, step = self._plan.parts[number], self._progress.steps[number]
        values = []
        for read in part.inputs:
            line = self._plan.lines[read.line]
            outside = np.full(line.row_bytes, line.zero_point, np.int8)
            ring = self._rings[read.line]
            values.append(
                np.array(
                    [
                        ring[row % line.rows] if row >= 0 else outside
                        for row in read.row_numbers(step, line.height)
                    ]
                )
            )
        self._write(part.output, self._parts[number](values).ravel())

    def _write(self, line: int, row: np.ndarray) -> None:
        kept = self._plan.lines[line].rows
        if kept:
            self._rings[line][self._progress.written[line] % kept] = row
        if line == self._plan.mean.line:
            self._sums += row.reshape(-1, self._plan.mean.channels).sum(axis=0, dtype=np.int32)
        self._progress.written[line] += 1
        if self._watch:
            self._watch(line, row)
