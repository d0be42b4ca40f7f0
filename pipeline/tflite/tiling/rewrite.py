"""The graph in which the operators up to one tensor run slab by slab over time.

The schedule says which rows of each tensor a slab computes and reads; the rewrite turns it into
operators. Rows that two slabs read are computed twice, or kept from one slab for the next.
"""

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.tflite import flatbuffer, memory_plan
from pipeline.tflite.graph import POOLS, Graph, Operator, Tensor
from pipeline.tflite.tiling.rows import PaddedRange, needs, padding_for, require
from pipeline.tflite.tiling.schedule import Rows, Scheduler, TilingPlan
from pipeline.tflite.tiling.source import Source
from pipeline.tflite.windows import Window

MOST_INPUTS = 10  # of a CONCATENATION in TFLite Micro


@dataclass(frozen=True)
class _Kept:
    """Rows of a tensor of the plain model, in a tensor of the tiled one."""

    tensor: int
    start: int
    end: int


class Rewrite:
    """The tiled graph: `graph` to be looked at, `model()` to be written.

    Raises
    ------
    ModelError
        The plan is none for this model.
    """

    def __init__(self, source: Source, plan: TilingPlan) -> None:
        self._source = source
        self._plan = plan
        self._slabs = Scheduler(source, plan).slabs()
        self._tensors: list[Tensor] = []
        self._origins: list[int | None] = []  # whose quantization and type a tensor has
        self._constants: dict[int, np.ndarray] = {}
        self._operators: list[Operator] = []
        self._prototypes: list[tuple[int | None, int | None]] = []  # plain operator, padding
        self._whole: dict[int, int] = {}
        self._numbers: dict[tuple[bytes, tuple[int, ...]], int] = {}
        self._slices: dict[tuple[int, int, int], int] = {}
        self._slab: dict[int, int] = {}  # computed in this slab
        self._joined: dict[int, int] = {}  # read in this slab
        self._kept: dict[int, list[_Kept]] = {}
        self._write()
        self.graph = Graph(
            self._tensors,
            self._operators,
            (self._whole[source.input],),
            tuple(self._whole[tensor] for tensor in source.graph.outputs),
        )

    def _write(self) -> None:
        source, until = self._source, self._plan.until
        steps = source.region(until)
        self._as_is(source.input)
        pieces: list[int] = []
        for number in range(self._plan.slabs):
            self._slab.clear()
            self._joined.clear()
            if self._plan.pace in self._slabs[number].computed:
                self._fresh(self._plan.pace, number)
            if until in self._slabs[number].computed:
                if len(pieces) == MOST_INPUTS:
                    pieces = [self._join(pieces, until)]
                pieces.append(self._fresh(until, number))
        self._join(pieces, until, self._as_is(until))
        for step, operator in enumerate(source.graph.operators):
            if step not in steps:
                self._emit(
                    operator.name,
                    [self._as_is(t) for t in operator.inputs],
                    [self._as_is(t) for t in operator.outputs],
                    step,
                )

    # Tensors

    def _add(self, tensor: Tensor, origin: int | None) -> int:
        self._tensors.append(tensor)
        self._origins.append(origin)
        return len(self._tensors) - 1

    def _as_is(self, tensor: int) -> int:
        """A tensor of the plain model, whole."""
        if tensor not in self._whole:
            self._whole[tensor] = self._add(self._source.graph.tensors[tensor], tensor)
        return self._whole[tensor]

    def _part(self, tensor: int, rows: int, columns: int | None = None) -> int:
        """A new tensor with so many rows of a tensor of the plain model."""
        whole = self._source.graph.tensors[tensor]
        _, _, width, channels = whole.shape
        return self._add(
            Tensor("", (1, rows, columns or width, channels), whole.type, False), tensor
        )

    def _integers(self, values: list[int], shape: tuple[int, ...]) -> int:
        """A constant; equal ones are one tensor."""
        array = np.array(values, "<i4")
        key = (array.tobytes(), shape)
        if key not in self._numbers:
            self._numbers[key] = self._add(Tensor("", shape, "INT32", True), None)
            self._constants[self._numbers[key]] = array
        return self._numbers[key]

    # Operators

    def _emit(
        self, name: str, inputs: list[int], outputs: list[int],
        plain: int | None = None, padding: int | None = None,
    ) -> None:  # fmt: skip
        self._operators.append(Operator(name, tuple(inputs), tuple(outputs)))
        self._prototypes.append((plain, padding))

    def _slice(self, number: int, start: int, end: int, tensor: int) -> int:
        """Rows start … end − 1 of tensor `number`, which has rows of the plain model's `tensor`."""
        _, rows, *rest = self._tensors[number].shape
        if (start, end) == (0, rows):
            return number
        key = (number, start, end)
        if key not in self._slices:
            begin = self._integers([0, start, 0, 0], (4,))
            size = self._integers([1, end - start, *rest], (4,))
            self._slices[key] = self._part(tensor, end - start)
            self._emit("SLICE", [number, begin, size], [self._slices[key]])
        return self._slices[key]

    def _join(self, pieces: list[int], tensor: int, into: int | None = None) -> int:
        """The pieces one after the other in time."""
        if into is None and len(pieces) == 1:
            return pieces[0]
        while len(pieces) > MOST_INPUTS:
            pieces = [self._join(pieces[:MOST_INPUTS], tensor), *pieces[MOST_INPUTS:]]
        if into is None:
            into = self._part(tensor, sum(self._tensors[piece].shape[1] for piece in pieces))
        self._emit("CONCATENATION", pieces, [into])
        return into

    # Rows of the plain model's tensors, for one slab

    def _between(self, tensor: int, number: int, start: int, end: int) -> int:
        """Rows start … end − 1 of a tensor."""
        if tensor == self._source.input:
            return self._slice(self._as_is(tensor), start, end, tensor)
        first, _ = self._slabs[number].read[tensor]
        return self._slice(self._rows(tensor, number), start - first, end - first, tensor)

    def _rows(self, tensor: int, number: int) -> int:
        """All rows of a tensor that a slab reads, kept ones and computed ones."""
        if tensor in self._joined:
            return self._joined[tensor]
        start, end = self._slabs[number].read[tensor]
        if tensor in self._slabs[number].computed:
            self._fresh(tensor, number)
        pieces = []
        at = start
        for kept in self._kept[tensor]:  # these may overlap where one was cut
            stop = min(end, kept.end)
            if kept.start <= at < stop:
                pieces.append(self._slice(kept.tensor, at - kept.start, stop - kept.start, tensor))
                at = stop
        assert at == end, f"rows {at} to {end} of tensor {tensor} were not kept"
        joined = self._joined[tensor] = self._join(pieces, tensor)
        # At once, so that the pieces need not live until the next slab.
        later = [s.read[tensor][0] for s in self._slabs[number + 1 :] if tensor in s.read]
        rest = min(later, default=end) if tensor in self._plan.kept else end
        ahead = [kept for kept in self._kept[tensor] if kept.end > min(rest, end)]
        self._kept[tensor] = self._left(tensor, ahead, joined, (start, end), rest)
        return joined

    def _left(
        self, tensor: int, ahead: list[_Kept], joined: int, rows: Rows, rest: int
    ) -> list[_Kept]:
        """What is kept of a tensor from row `rest` on, after `rows` of it were joined and read."""
        start, end = rows
        if not start <= rest < end:
            return ahead
        beyond = [kept for kept in ahead if kept.end > end]
        if beyond and beyond[0].start <= rest:
            return beyond
        cut = self._slice(joined, rest - start, end - start, tensor)
        return [_Kept(cut, rest, end), *beyond]

    def _fresh(self, tensor: int, number: int) -> int:
        """The rows of a tensor that a slab computes."""
        if tensor not in self._slab:
            start, end = self._slabs[number].computed[tensor]
            self._slab[tensor] = self._compute(tensor, number, start, end)
            self._kept.setdefault(tensor, []).append(_Kept(self._slab[tensor], start, end))
        return self._slab[tensor]

    def _compute(self, tensor: int, number: int, start: int, end: int) -> int:
        """Rows of a tensor by the operator that makes it, after all that it needs."""
        source = self._source
        step = source.producer[tensor]
        operator = source.graph.operators[step]
        found_window = source.window(step)
        if found_window is None:
            inputs = [
                self._as_is(t)
                if source.graph.tensors[t].constant
                else self._between(t, number, start, end)
                for t in operator.inputs
            ]
            output = self._part(tensor, end - start)
            self._emit(operator.name, inputs, [output], step)
            return output
        data, *constants = operator.inputs
        piece = needs(found_window.rows, start, end, source.length(data))
        rows = self._between(data, number, piece.start, piece.end)
        padding = padding_for(found_window, piece, end - start)
        if padding is None:
            require(
                f"the border of a slab cuts the padded windows of {operator.name}"
                if operator.name in POOLS
                else ""
            )
            rows = self._pad(rows, data, piece, found_window)
            padding = schema.Padding.VALID
        inputs = [rows, *(self._as_is(t) for t in constants)]
        output = self._part(tensor, end - start)
        self._emit(operator.name, inputs, [output], step, padding)
        return output

    def _pad(self, rows: int, tensor: int, piece: PaddedRange, around: Window) -> int:
        """Zeros, which PAD writes as the zero point, around a piece."""
        columns = around.columns
        margins = [0, 0, piece.before, piece.after, columns.before, columns.after, 0, 0]
        _, height, width, _ = self._tensors[rows].shape
        padded = self._part(
            tensor,
            height + piece.before + piece.after,
            width + columns.before + columns.after,
        )
        self._emit("PAD", [rows, self._integers(margins, (4, 2))], [padded])
        return padded

    # The flatbuffer's objects

    def model(self) -> Any:
        """A ModelT; its tensors have the numbers they have in `graph`."""
        plain = self._source.model
        model = copy(plain)
        memory_plan.detach(model)
        model.buffers = list(plain.buffers)
        model.operatorCodes = list(plain.operatorCodes)
        subgraph = copy(plain.subgraphs[0])
        subgraph.tensors = [self._tensor(number, model) for number in range(len(self._tensors))]
        added: dict[str, tuple[int, Any]] = {}
        subgraph.operators = [
            self._operator(step, model, added) for step in range(len(self._operators))
        ]
        subgraph.inputs = np.array(self.graph.inputs, np.int32)
        subgraph.outputs = np.array(self.graph.outputs, np.int32)
        model.subgraphs = [subgraph]
        model.signatureDefs = [self._signature(s) for s in plain.signatureDefs or []]
        flatbuffer.drop_unused(model)
        return model

    def _tensor(self, number: int, model: Any) -> Any:
        origin = self._origins[number]
        shape = np.array(self._tensors[number].shape, np.int32)
        if origin is None:
            model.buffers.append(schema.BufferT(data=self._constants[number].view(np.uint8)))
            return schema.TensorT(
                shape=shape, type=schema.TensorType.INT32, buffer=len(model.buffers) - 1
            )
        plain = self._source.model.subgraphs[0].tensors[origin]
        if self._whole.get(origin) == number:
            return copy(plain)
        return schema.TensorT(
            shape=shape, type=plain.type, buffer=plain.buffer, quantization=plain.quantization
        )

    def _operator(self, step: int, model: Any, added: dict[str, tuple[int, Any]]) -> Any:
        here = self._operators[step]
        plain_step, padding = self._prototypes[step]
        if plain_step is None:
            if here.name not in added:
                added[here.name] = (len(model.operatorCodes), _options(here.name))
                model.operatorCodes.append(_code(here.name))
            code, (kind, options) = added[here.name]
            operator = schema.OperatorT(
                opcodeIndex=code, builtinOptionsType=kind, builtinOptions=options
            )
        else:
            operator = copy(self._source.operators[plain_step])
            if padding is not None and padding != operator.builtinOptions.padding:
                operator.builtinOptions = copy(operator.builtinOptions)
                operator.builtinOptions.padding = padding
        present = iter(here.inputs)
        absent = [] if plain_step is None else self._source.operators[plain_step].inputs
        operator.inputs = np.array(
            [-1 if n < 0 else next(present) for n in absent] or here.inputs, np.int32
        )
        operator.outputs = np.array(here.outputs, np.int32)
        return operator

    def _signature(self, plain: Any) -> Any:
        signature = copy(plain)
        for side in ("inputs", "outputs"):
            entries = []
            for entry in getattr(plain, side):
                entries.append(copy(entry))
                entries[-1].tensorIndex = self._whole[entry.tensorIndex]
            setattr(signature, side, entries)
        return signature


def _code(name: str) -> Any:
    number = getattr(schema.BuiltinOperator, name)
    # Version 2 is the first of all three that takes int8.
    return schema.OperatorCodeT(
        builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=2
    )


def _options(name: str) -> tuple[int, Any]:
    kinds = schema.BuiltinOptions
    if name == "SLICE":
        return kinds.SliceOptions, schema.SliceOptionsT()
    if name == "PAD":
        return kinds.PadOptions, schema.PadOptionsT()
    return kinds.ConcatenationOptions, schema.ConcatenationOptionsT(axis=1)
