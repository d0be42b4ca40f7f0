"""The operators and tensors of a flatbuffer, read from its own schema."""

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import ModelError
from pipeline.tflite import flatbuffer

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
WEIGHTED = (*CONVOLUTIONS, "FULLY_CONNECTED")

_NAMES = {
    number: name
    for name, number in vars(schema.BuiltinOperator).items()
    if not name.startswith("_")
}
_TYPES = {
    number: name for name, number in vars(schema.TensorType).items() if not name.startswith("_")
}
_BYTES = {"FLOAT32": 4, "FLOAT16": 2, "INT32": 4, "INT64": 8, "INT16": 2, "INT8": 1, "UINT8": 1, "BOOL": 1}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; `constant` ones are in flash, the others in the arena."""

    name: str
    shape: tuple[int, ...]
    type: str
    constant: bool

    @property
    def bytes(self) -> int:
        """How many it takes; ModelError where elements of its type have no size of their own."""
        if self.type not in _BYTES:
            raise ModelError(
                f"tensor {self.name} is {self.type}, expected one of {', '.join(_BYTES)}: convert the model to int8"
            )
        return prod(self.shape) * _BYTES[self.type]


@dataclass(frozen=True)
class Operator:
    """An operator; `inputs` and `outputs` are numbers of tensors, without absent optional ones.

    strides : of a convolution or pool, over rows and over columns
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    strides: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Graph:
    """The first subgraph, which is all that the models made here have."""

    tensors: list[Tensor]
    operators: list[Operator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def histogram(self) -> dict[str, int]:
        """How often each operator stands in the graph, the most frequent first."""
        return dict(Counter(operator.name for operator in self.operators).most_common())

    def macs_of(self, operator: Operator) -> int:
        """Multiply-accumulates of one run of a convolution or fully connected layer; 0 of others."""
        if operator.name not in WEIGHTED:
            return 0
        weights = self.tensors[operator.inputs[1]].shape
        # Of a depthwise convolution the last axis is that of the output, which stands for itself.
        filter_shape = weights[1:3] if operator.name == "DEPTHWISE_CONV_2D" else weights[1:]
        return prod(self.tensors[operator.outputs[0]].shape) * prod(filter_shape)

    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(self.macs_of(operator) for operator in self.operators)

    def depthwise_macs(self) -> int:
        """Those of them that are depthwise convolutions'."""
        return sum(
            self.macs_of(operator)
            for operator in self.operators
            if operator.name == "DEPTHWISE_CONV_2D"
        )

    def last_convolution(self) -> int:
        """The output of the last convolution that has more than one position, by number.

        Raises
        ------
        ModelError
            There is no such convolution.
        """
        for operator in reversed(self.operators):
            if operator.name in CONVOLUTIONS:
                (number,) = operator.outputs
                if max(self.tensors[number].shape[1:3]) > 1:
                    return number
        raise ModelError("the model has no convolution over time, which tiling needs")

    def spans(self) -> dict[int, tuple[int, int]]:
        """The first and the last operator during which each activation must exist, by number."""
        found = dict.fromkeys(self.inputs, (0, 0))
        for step, operator in enumerate(self.operators):
            for tensor in operator.outputs:
                found[tensor] = (step, step)
            for tensor in operator.inputs:
                if tensor in found:
                    found[tensor] = (found[tensor][0], step)
        for tensor in self.outputs:
            found[tensor] = (found[tensor][0], len(self.operators) - 1)
        return found

    def live(self) -> list[list[int]]:
        """The activations that exist while each operator runs, by number, largest first."""
        spans = self.spans()
        return [
            sorted(
                (t for t, (first, last) in spans.items() if first <= step <= last),
                key=lambda t: -self.tensors[t].bytes,
            )
            for step in range(len(self.operators))
        ]

    def peak(self) -> tuple[Operator, list[Tensor]]:
        """The operator with the most bytes live while it runs, and those tensors, largest first."""
        live = self.live()
        step = max(range(len(live)), key=lambda i: sum(self.tensors[t].bytes for t in live[i]))
        return self.operators[step], [self.tensors[t] for t in live[step]]


def _has_bytes(buffer: schema.BufferT) -> bool:
    """Older converters write empty vectors where newer ones write none."""
    return buffer.data is not None and len(buffer.data) > 0


def read(content: bytes) -> Graph:
    """Read a flatbuffer; ModelError where it is none, or damaged."""
    model = flatbuffer.load(content)
    try:
        found = _graph(model)
        _check_numbers(found)
        return found
    except (LookupError, TypeError, ValueError) as error:  # numbers and names that mean nothing
        raise flatbuffer.damaged(content, error) from None


def _check_numbers(found: Graph) -> None:
    """IndexError where a tensor is used that is not there, or nothing goes in or out."""
    sides = [
        found.inputs,
        found.outputs,
        *(side for operator in found.operators for side in (operator.inputs, operator.outputs)),
    ]
    most = max(number for side in sides for number in side)
    if not (found.inputs and found.outputs) or most >= len(found.tensors):
        raise IndexError(
            f"{len(found.inputs)} inputs, {len(found.outputs)} outputs, tensor {most} of {len(found.tensors)}"
        )


def _graph(model: Any) -> Graph:
    """The first subgraph of the schema's ModelT."""
    graph = model.subgraphs[0]

    def present(numbers: np.ndarray | None) -> tuple[int, ...]:
        return tuple(int(number) for number in ([] if numbers is None else numbers) if number >= 0)

    def text(name: bytes | str | None) -> str:
        return name.decode() if isinstance(name, bytes) else name or ""

    return Graph(
        tensors=[
            Tensor(
                text(tensor.name),
                tuple(int(n) for n in (tensor.shape if tensor.shape is not None else ())),
                _TYPES[tensor.type],
                _has_bytes(model.buffers[tensor.buffer]),
            )
            for tensor in graph.tensors
        ],
        operators=[
            Operator(
                _NAMES[
                    max(
                        model.operatorCodes[operator.opcodeIndex].builtinCode,
                        model.operatorCodes[operator.opcodeIndex].deprecatedBuiltinCode,
                    )
                ],
                present(operator.inputs),
                present(operator.outputs),
                (
                    getattr(operator.builtinOptions, "strideH", 1),
                    getattr(operator.builtinOptions, "strideW", 1),
                ),
            )
            for operator in graph.operators
        ],
        inputs=present(graph.inputs),
        outputs=present(graph.outputs),
    )
