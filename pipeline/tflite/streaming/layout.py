"""Where a network is cut, and what follows from it: parts, line buffers, and memory, about."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import lcm

from pipeline.tflite.streaming.network import Network, Operator
from pipeline.tflite.streaming.plan import (
    LineBuffer,
    Mean,
    Part,
    PartInput,
    StreamingPlan,
    quantized_multiplier,
    rows_kept,
)

# What a part takes for itself in TFLite Micro, about; only to weigh one more part against memory.
PART_BYTES = 900


@dataclass(frozen=True)
class OperatorGroup:
    """Operators that run together; `rows` of each operator's output that one step makes."""

    operators: tuple[Operator, ...]
    rows: dict[int, int]

    @property
    def output(self) -> int:
        return self.operators[-1].output


class Partition:
    """The network cut at `cuts`, a set of tensors that go through line buffers."""

    def __init__(self, network: Network, cuts: frozenset[int]) -> None:
        self.network = network
        self.cuts = cuts
        self._makes = {op.output: op for op in network.body}
        roots = [op for op in network.body if op.output in cuts]
        self.pieces = [self._piece(root) for root in roots]

    def _piece(self, root: Operator) -> OperatorGroup:
        """All that leads from line buffers to `root`, one branch after the other.

        TFLite Micro places tensors in the order of operators: a branch that is finished before the
        next begins holds its result only.
        """
        order: list[Operator] = []
        rows = {root.output: 1}

        def visit(op: Operator) -> None:
            for tensor in op.inputs:
                if tensor not in self.cuts:
                    rows[tensor] = rows[op.output] * (op.rows.kernel if op.is_pool else 1)
                    visit(self._makes[tensor])
            order.append(op)

        visit(root)
        return OperatorGroup(tuple(order), rows)

    @cached_property
    def plan(self) -> StreamingPlan:
        network = self.network
        tensors = [network.input, *(piece.output for piece in self.pieces)]
        numbers = {tensor: number for number, tensor in enumerate(tensors)}
        lines = [
            LineBuffer(t, network.height(t), network.row_bytes(t), network.quantization(t)[1])
            for t in tensors
        ]
        parts = [
            Part(
                inputs=tuple(dict.fromkeys(i for _, i in self.reads(piece, numbers))),
                output=numbers[piece.output],
                steps=network.height(piece.output),
                macs=sum(op.macs * piece.rows[op.output] for op in piece.operators),
            )
            for piece in self.pieces
        ]
        plan = StreamingPlan(tuple(lines), tuple(parts), _mean(network, numbers))
        kept = rows_kept(plan)
        return replace(
            plan, lines=tuple(replace(a, rows=n) for a, n in zip(lines, kept, strict=True))
        )

    def reads(
        self, piece: OperatorGroup, numbers: dict[int, int]
    ) -> list[tuple[tuple[int, int], PartInput]]:
        """What each operator of `piece` reads from line buffers: ((operator, tensor), input)."""
        return [
            ((op.number, tensor), self._input(op, numbers[tensor], tensor, piece.rows[op.output]))
            for op in piece.operators
            for tensor in op.inputs
            if tensor in self.cuts
        ]

    def _input(self, op: Operator, line: int, tensor: int, windows: int) -> PartInput:
        return PartInput(
            line=line,
            windows=windows,
            kernel=op.rows.kernel,
            stride=op.rows.stride,
            dilation=op.rows.dilation,
            top=op.rows.before,
            last=self.network.height(op.output) - 1,
            rows=_pool_rows(self.network, op) if op.is_pool else op.rows.kernel,
            repeat=op.is_pool,
        )

    def bytes(self) -> int:
        """Memory, about: the largest activations, line buffers, and what parts take themselves."""
        return (
            max(self._activations(piece) for piece in self.pieces)
            + self.plan.line_bytes
            + PART_BYTES * len(self.pieces)
        )

    def _activations(self, piece: OperatorGroup) -> int:
        """Bytes live at the worst moment of a step."""
        size = self.network.row_bytes
        moments = {op.number: moment for moment, op in enumerate(piece.operators)}
        last_read = {t: moments[op.number] for op in piece.operators for t in op.inputs}
        end = len(piece.operators) - 1
        spans = [  # bytes, from when to when
            (piece.rows[op.output] * size(op.output), begin, last_read.get(op.output, end))
            for begin, op in enumerate(piece.operators)
        ]
        inputs: dict[tuple[int, PartInput], int] = {}
        for (operator, tensor), read in self.reads(piece, dict.fromkeys(self.cuts, 0)):
            inputs[tensor, read] = moments[operator]
        spans += [(r.windows * r.rows * size(t), 0, last) for (t, r), last in inputs.items()]
        return max(
            sum(n for n, begin, last in spans if begin <= moment <= last)
            for moment in range(end + 1)
        )


def _pool_rows(network: Network, pool: Operator) -> int:
    """Rows of a pool's input so that any number of existing rows can fill it evenly."""
    rows, height = pool.rows, network.height(pool.inputs[0])
    valid = {
        min(first + rows.kernel, height) - max(first, 0)
        for n in range(network.height(pool.output))
        for first in [n * rows.stride - rows.before]
    }
    return lcm(*valid)


def _mean(network: Network, numbers: dict[int, int]) -> Mean:
    operator = network.graph.operators[network.mean]
    source, output = int(operator.inputs[0]), int(operator.outputs[0])
    scale, zero_point = network.quantization(source)
    output_scale, output_zero_point = network.quantization(output)
    multiplier, shift = quantized_multiplier(scale / output_scale)
    _, _, columns, channels = network.shape(source)
    return Mean(
        numbers[source], columns, channels, zero_point, multiplier, shift, output_zero_point
    )
