"""What the operators of an int8 network do along time, read from the flatbuffer."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from pipeline.errors import ModelError
from pipeline.tflite import flatbuffer, graph
from pipeline.tflite.graph import CONVOLUTIONS, POOLS
from pipeline.tflite.windows import Axis, window

# Each element of the output depends on the one in its place only.
ELEMENTWISE = (
    "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "LOGISTIC", "TANH", "HARD_SWISH", "QUANTIZE",
)  # fmt: skip
WITH_CONSTANT = ("ADD", "SUB", "MUL")  # elementwise too where the other operand is constant


ROW = Axis(kernel=1, stride=1, dilation=1, before=0, after=0)


@dataclass(frozen=True)
class Operator:
    """`number` in the graph; `inputs` without constants; `rows` along time; `macs` of one output row."""

    number: int
    name: str
    inputs: tuple[int, ...]
    output: int
    rows: Axis
    macs: int

    @property
    def is_pool(self) -> bool:
        return self.name in POOLS and not self.rows.one_to_one


class Network:
    """A network that is row by row as far as one MEAN over time and columns.

    body : the operators before the MEAN, in the order of the graph
    mean : the MEAN's number
    head : the numbers of the operators after it

    Raises
    ------
    ModelError
        The model has another form; the message says what stands in the way.
    """

    def __init__(self, content: bytes) -> None:
        self.model = flatbuffer.load(content)
        self.graph = self.model.subgraphs[0]
        self._read = graph.read(content)
        if len(self.model.subgraphs) != 1:
            raise _refused(f"it has {len(self.model.subgraphs)} subgraphs, expected one")
        if len(self.graph.inputs) != 1 or len(self.graph.outputs) != 1:
            raise _refused(
                f"it has {len(self.graph.inputs)} inputs and {len(self.graph.outputs)} outputs, expected one of each"
            )
        self.input = int(self.graph.inputs[0])
        self.output = int(self.graph.outputs[0])
        self._check_int8()
        means = [n for n in range(len(self.graph.operators)) if self.name(n) == "MEAN"]
        if len(means) != 1:
            raise _refused(f"it has {len(means)} MEAN operators, expected one, over time")
        self.mean = means[0]
        self._check_mean()
        self.body = self._body()
        self.head = self._head()

    def name(self, operator: int) -> str:
        return self._read.operators[operator].name

    def shape(self, tensor: int) -> tuple[int, ...]:
        return self._read.tensors[tensor].shape

    def height(self, tensor: int) -> int:
        """Rows: the length of the time axis."""
        return self.shape(tensor)[1]

    def row_bytes(self, tensor: int) -> int:
        return prod(self.shape(tensor)[2:])

    def quantization(self, tensor: int) -> tuple[float, int]:
        """Scale and zero point of an activation."""
        q = self.graph.tensors[tensor].quantization
        return float(q.scale[0]), int(q.zeroPoint[0])

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of a clip as far as the MEAN."""
        return sum(self.height(op.output) * op.macs for op in self.body)

    def head_macs(self) -> int:
        """Multiply-accumulates after the MEAN."""
        return sum(self._read.macs_of(self._read.operators[number]) for number in self.head)

    def is_constant(self, tensor: int) -> bool:
        return self._read.tensors[tensor].constant

    def constant(self, tensor: int) -> np.ndarray:
        """The int32 numbers of a constant tensor."""
        return self.model.buffers[self.graph.tensors[tensor].buffer].data.view("<i4")

    def activations(self, operator: int) -> tuple[int, ...]:
        """The inputs of an operator that are computed."""
        return tuple(t for t in self._read.operators[operator].inputs if not self.is_constant(t))

    def _check_int8(self) -> None:
        for number in range(len(self.graph.operators)):
            for tensor in (*self.activations(number), int(self.graph.operators[number].outputs[0])):
                if self._read.tensors[tensor].type != "INT8":
                    raise _refused(f"tensor {tensor} of {self.name(number)} is not int8")

    def _check_mean(self) -> None:
        operator = self.graph.operators[self.mean]
        source = int(operator.inputs[0])
        dimensions = len(self.shape(source))
        if not self.is_constant(int(operator.inputs[1])):
            raise _refused("the axes of its MEAN are not constant")
        axes = sorted(int(a) % dimensions for a in self.constant(int(operator.inputs[1])))
        if dimensions != 4 or axes != [1, 2]:
            raise _refused(
                f"its MEAN is over axes {axes} of {dimensions} dimensions, expected 1 and 2 of 4"
            )

    def _body(self) -> list[Operator]:
        made_by = {int(op.outputs[0]): number for number, op in enumerate(self.graph.operators)}
        found: dict[int, Operator] = {}
        waiting = [int(self.graph.operators[self.mean].inputs[0])]
        while waiting:
            tensor = waiting.pop()
            if tensor == self.input:
                continue
            number = made_by[tensor]
            if number not in found:
                found[number] = self._operator(number)
                waiting += found[number].inputs
        if not found:
            raise _refused("nothing is computed before its MEAN")
        self._check_rows(self.input)
        return [found[number] for number in sorted(found)]

    def _head(self) -> list[int]:
        body = {op.number for op in self.body}
        known = {int(self.graph.operators[self.mean].outputs[0])}
        head = []
        for number, operator in enumerate(self.graph.operators):
            if number in body or number == self.mean:
                continue
            if not set(self.activations(number)) <= known:
                raise _refused(
                    f"{self.name(number)} reads what comes before the MEAN past the MEAN"
                )
            known.add(int(operator.outputs[0]))
            head.append(number)
        if not head or self.output not in known:
            raise _refused("its output is not computed from its MEAN")
        return head

    def _check_rows(self, tensor: int) -> None:
        shape = self.shape(tensor)
        if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
            raise _refused(
                f"tensor {tensor} has shape {list(shape)}, expected [1, time, columns, channels]"
            )

    def _operator(self, number: int) -> Operator:
        operator = self.graph.operators[number]
        name, inputs = self.name(number), self.activations(number)
        if len(operator.outputs) != 1:
            raise _refused(f"{name} has {len(operator.outputs)} outputs, expected one")
        output = int(operator.outputs[0])
        for tensor in (*inputs, output):
            self._check_rows(tensor)
        slid = window(self._read.operators[number], operator.builtinOptions, self._read)
        if name in CONVOLUTIONS and len(inputs) != 1:
            raise _refused(f"the weights of {name} are not constant")
        if slid is None:
            self._check_row_by_row(number)
        rows = slid.rows if slid else ROW
        if rows.one_to_one and {self.height(t) for t in inputs} != {self.height(output)}:
            raise _refused(f"{name} changes the number of rows")
        macs = self._read.macs_of(self._read.operators[number]) // self.height(output)
        return Operator(number, name, inputs, output, rows, macs)

    def _check_row_by_row(self, number: int) -> None:
        """Refuse an operator without a window whose rows depend on more than the rows in their place."""
        operator, name = self.graph.operators[number], self.name(number)
        inputs = self.activations(number)
        if name == "CONCATENATION":
            across = operator.builtinOptions.axis % 4 in (2, 3)
            if not across or len(inputs) != len(operator.inputs):
                raise _refused(
                    "CONCATENATION joins something else than columns or channels of one moment"
                )
        elif name in WITH_CONSTANT and len(inputs) == 1:
            other = next(int(t) for t in operator.inputs if int(t) != inputs[0])
            if len(self.shape(other)) > 2 and self.shape(other)[-3] != 1:
                raise _refused(f"the constant of {name} changes over time")
        elif name not in ELEMENTWISE:
            raise _refused(f"{name} may mix moments of time")


def _refused(reason: str) -> ModelError:
    return ModelError(f"the model cannot be streamed: {reason}")
