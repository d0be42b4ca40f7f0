"""A model that is to be rewritten, and what its operators allow."""

from pipeline.errors import ModelError
from pipeline.tflite import flatbuffer, graph
from pipeline.tflite.graph import CONVOLUTIONS
from pipeline.tflite.tiling.rows import blocks, require
from pipeline.tflite.windows import Window, window


class Source:
    """A model to rewrite: its graph, who makes each tensor, and the windows of its operators.

    Raises
    ------
    ModelError
        It is not an int8 model with one subgraph and one input.
    """

    def __init__(self, content: bytes) -> None:
        self.model = flatbuffer.unpack(content)
        self.graph = graph.read(content)
        self._check_int8()
        self.operators = self.model.subgraphs[0].operators
        self.producer = {
            tensor: step
            for step, operator in enumerate(self.graph.operators)
            for tensor in operator.outputs
        }
        self.consumers: dict[int, list[int]] = {}
        for step, operator in enumerate(self.graph.operators):
            for tensor in operator.inputs:
                self.consumers.setdefault(tensor, []).append(step)
        self.input = self.graph.inputs[0]
        self._windows = [
            window(operator, raw.builtinOptions, self.graph)
            for operator, raw in zip(self.graph.operators, self.operators, strict=True)
        ]
        self._regions: dict[int, list[int]] = {}

    def _check_int8(self) -> None:
        for operator in self.graph.operators:
            for number in (*operator.inputs, *operator.outputs):
                tensor = self.graph.tensors[number]
                if not tensor.constant and tensor.type != "INT8":
                    raise ModelError(
                        f"tensor {tensor.name!r} is {tensor.type}, expected an INT8 model: convert it to int8 throughout"
                    )

    def length(self, tensor: int) -> int:
        """Rows of a tensor."""
        return self.graph.tensors[tensor].shape[1]

    def activations(self, step: int) -> list[int]:
        """The inputs of an operator that are no constants."""
        return [t for t in self.graph.operators[step].inputs if not self.graph.tensors[t].constant]

    def blocks(self, step: int) -> str:
        """Why an operator cannot run slab by slab; "" where it can."""
        operator = self.graph.operators[step]
        tensors = self.graph.tensors
        shapes = [tensors[t].shape for t in (*self.activations(step), *operator.outputs)]
        reason = blocks(operator.name, shapes, self.operators[step].builtinOptions)
        if not reason and operator.name not in CONVOLUTIONS:
            for number in operator.inputs:
                if tensors[number].constant and any(n > 1 for n in tensors[number].shape[:-1]):
                    reason = f"{operator.name} has a constant that varies over time"
        return reason

    def window(self, step: int) -> Window | None:
        """The window of a convolution or pool, None for what works row by row."""
        return self._windows[step]

    def region(self, until: int) -> list[int]:
        """The operators that `until` is computed by, in their order.

        Raises
        ------
        ModelError
            One of them cannot run slab by slab, or what it computes is also needed whole.
        """
        if until not in self._regions:
            self._regions[until] = self._region(until)
        return self._regions[until]

    def _region(self, until: int) -> list[int]:
        needed, steps = {until}, []
        for step in range(self.producer[until], -1, -1):
            if needed & set(self.graph.operators[step].outputs):
                require(self.blocks(step))
                needed |= set(self.activations(step))
                steps.append(step)
        for tensor in needed - {until, self.input}:
            if tensor in self.graph.outputs or set(self.consumers[tensor]) - set(steps):
                require(f"tensor {self.graph.tensors[tensor].name!r} is also needed whole")
        return steps[::-1]

    def overlaps(self, steps: list[int]) -> list[int]:
        """Tensors inside a region of which two slabs need the same rows, first ones first."""
        found = []
        for step in steps:
            found_window = self.window(step)
            if found_window and found_window.rows.reach > found_window.rows.stride:
                found += [t for t in self.activations(step) if t != self.input and t not in found]
        return sorted(found, key=lambda tensor: self.producer[tensor])
