"""Flatbuffers taken apart, changed and put together again, no larger than they have to be."""

from copy import copy
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import ModelError
from pipeline.tflite import graph
from pipeline.tflite.graph import Graph

IDENTIFIER = b"TFL3"
ALIGNMENT = 16  # bytes; kernels read weights where they lie, and expect them on such an address


def unpack(content: bytes) -> Any:
    """The schema's ModelT of an int8 flatbuffer with one subgraph and one input.

    Raises
    ------
    ModelError
        It is none, or one that cannot be rewritten here.
    """
    if content[4:8] != IDENTIFIER:
        raise ModelError(
            f"the file is no TensorFlow Lite model: bytes 4 to 8 are {content[4:8]!r}, expected {IDENTIFIER!r}"
        )
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if len(model.subgraphs) != 1:
        raise ModelError(
            f"the model has {len(model.subgraphs)} subgraphs, expected 1: one with control flow cannot be rewritten"
        )
    if any(buffer.offset > 1 for buffer in model.buffers):
        raise ModelError("the model keeps buffers outside its flatbuffer, expected them inside")
    inputs = model.subgraphs[0].inputs
    if len(inputs) != 1:
        raise ModelError(f"the model has {len(inputs)} inputs, expected 1")
    read = graph.read(content)
    for operator in read.operators:
        for number in (*operator.inputs, *operator.outputs):
            tensor = read.tensors[number]
            if not tensor.constant and tensor.type != "INT8":
                raise ModelError(
                    f"tensor {tensor.name!r} is {tensor.type}, expected an INT8 model: convert it to int8 throughout"
                )
    return model


def without_plan(model: Any) -> None:
    """Forget the memory plan, whose offsets are of a graph that is about to change."""
    model.metadata = [copy(m) for m in model.metadata or [] if m.name != PLAN_NAME]
    model.metadataBuffer = None  # deprecated; its numbers of buffers would be wrong ones


PLAN_NAME = b"OfflineMemoryAllocation"


class _Builder(flatbuffers.Builder):
    """Writes equal vectors and strings once, and bytes at aligned addresses."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._vectors: dict[tuple[str, bytes], int] = {}
        self._strings: dict[str | bytes, int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._vectors:
            if x.dtype == np.uint8:
                self.Prep(ALIGNMENT, x.nbytes)
            self._vectors[key] = super().CreateNumpyVector(x)
        return self._vectors[key]

    def CreateString(self, s: str | bytes, *args: Any, **options: Any) -> int:
        if s not in self._strings:
            self._strings[s] = super().CreateString(s, *args, **options)
        return self._strings[s]


class _Once:
    """A table that is written by the first that refers to it, and shared by the rest."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._offset: int | None = None

    def Pack(self, builder: flatbuffers.Builder) -> int:
        if self._offset is None:
            self._offset = self._table.Pack(builder)
        return self._offset


def pack(model: Any) -> bytes:
    """The flatbuffer of a ModelT; tables that are one object in it are written once.

    Same model, same bytes. Buffers lie on multiples of 16 bytes.
    """
    shared: dict[int, _Once] = {}

    def once(table: Any) -> Any:
        return None if table is None else shared.setdefault(id(table), _Once(table))

    tensors = [(tensor, tensor.quantization) for tensor in model.subgraphs[0].tensors]
    operators = [(operator, operator.builtinOptions) for operator in model.subgraphs[0].operators]
    for tensor, quantization in tensors:
        tensor.quantization = once(quantization)
    for operator, options in operators:
        operator.builtinOptions = once(options)
    builder = _Builder(1 << 20)
    try:
        builder.Finish(model.Pack(builder), IDENTIFIER)
    finally:
        for tensor, quantization in tensors:
            tensor.quantization = quantization
        for operator, options in operators:
            operator.builtinOptions = options
    return bytes(builder.Output())


def _numbers(used: set[int]) -> dict[int, int]:
    """New numbers by old ones, in the same order."""
    return {old: new for new, old in enumerate(sorted(n for n in used if n >= 0))}


def renumber(model: Any) -> dict[int, int]:
    """Drop tensors, buffers and operator codes that nothing refers to, and number the rest anew.

    Returns the new numbers of the tensors by their old ones.
    """
    subgraph = model.subgraphs[0]
    tensors = _numbers(
        {int(n) for op in subgraph.operators for n in (*op.inputs, *op.outputs)}
        | {int(n) for n in (*subgraph.inputs, *subgraph.outputs)}
    )

    def mapped(numbers: Any) -> np.ndarray:
        return np.array([tensors[int(n)] if n >= 0 else -1 for n in numbers], np.int32)

    for operator in subgraph.operators:
        operator.inputs, operator.outputs = mapped(operator.inputs), mapped(operator.outputs)
    subgraph.inputs, subgraph.outputs = mapped(subgraph.inputs), mapped(subgraph.outputs)
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = tensors[entry.tensorIndex]
    subgraph.tensors = [subgraph.tensors[old] for old in tensors]
    drop_unused(model)
    return tensors


def drop_unused(model: Any) -> None:
    """Drop buffers and operator codes that nothing refers to, and number the rest anew."""
    subgraph = model.subgraphs[0]
    metadata = model.metadata or []
    # Buffer 0 is by convention the empty one.
    buffers = _numbers({0, *(t.buffer for t in subgraph.tensors), *(m.buffer for m in metadata)})
    for table in (*subgraph.tensors, *metadata):
        table.buffer = buffers[table.buffer]
    model.buffers = [model.buffers[old] for old in buffers]

    codes = _numbers({operator.opcodeIndex for operator in subgraph.operators})
    for operator in subgraph.operators:
        operator.opcodeIndex = codes[operator.opcodeIndex]
    model.operatorCodes = [model.operatorCodes[old] for old in codes]


def last_convolution(read: Graph) -> int:
    """The output of the last convolution that has more than one position, by number.

    Raises
    ------
    ModelError
        There is no such convolution.
    """
    for operator in reversed(read.operators):
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            (number,) = operator.outputs
            if max(read.tensors[number].shape[1:3]) > 1:
                return number
    raise ModelError("the model has no convolution over time, there is nothing to run slab by slab")
