"""The operators and tensors of a flatbuffer, read from its own schema."""

from collections import Counter
from dataclasses import dataclass
from math import prod

import numpy as np
from ai_edge_litert import schema_py_generated as schema

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
        return prod(self.shape) * _BYTES[self.type]


@dataclass(frozen=True)
class Operator:
    """An operator; `inputs` and `outputs` are numbers of tensors, without absent optional ones."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


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

    def float_tensors(self) -> list[str]:
        return [tensor.name for tensor in self.tensors if tensor.type.startswith("FLOAT")]

    def macs(self) -> int:
        """Multiply-accumulates of convolutions and fully connected layers in one inference."""
        total = 0
        for operator in self.operators:
            weight_shape = (
                self.tensors[operator.inputs[1]].shape if len(operator.inputs) > 1 else ()
            )
            outputs = prod(self.tensors[operator.outputs[0]].shape)
            if operator.name in ("CONV_2D", "FULLY_CONNECTED"):
                total += outputs * prod(weight_shape[1:])
            elif operator.name == "DEPTHWISE_CONV_2D":
                total += outputs * prod(weight_shape[1:3])
        return total

    def live(self) -> list[list[int]]:
        """The activations that exist while each operator runs, by number, largest first."""
        first: dict[int, int] = dict.fromkeys(self.inputs, 0)
        last: dict[int, int] = {}
        for step, operator in enumerate(self.operators):
            for tensor in operator.outputs:
                first[tensor] = step
                last[tensor] = step
            for tensor in operator.inputs:
                last[tensor] = step
        for tensor in self.outputs:
            last[tensor] = len(self.operators) - 1
        return [
            sorted(
                (t for t in first if first[t] <= step <= last.get(t, step)),
                key=lambda t: -self.tensors[t].bytes,
            )
            for step in range(len(self.operators))
        ]

    def peak(self) -> tuple[Operator, list[Tensor]]:
        """The operator with the most bytes live while it runs, and those tensors, largest first."""
        live = self.live()
        step = max(range(len(live)), key=lambda i: sum(self.tensors[t].bytes for t in live[i]))
        return self.operators[step], [self.tensors[t] for t in live[step]]


def read(content: bytes) -> Graph:
    """Read a flatbuffer."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
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
                model.buffers[tensor.buffer].data is not None,
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
            )
            for operator in graph.operators
        ],
        inputs=present(graph.inputs),
        outputs=present(graph.outputs),
    )
