"""Flatbuffers taken apart, changed and put together again.

Kernels read weights where they lie in flash, so all that is written here lies on aligned addresses,
which the schema's own writer leaves to chance.
"""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import ModelError

IDENTIFIER = b"TFL3"
ALIGNMENT = 16  # bytes; what TFLite Micro and vector loads ask of weights


def load(content: bytes) -> Any:
    """The schema's ModelT.

    Raises
    ------
    ModelError
        It does not bear TFLite's file identifier, or is damaged.
    """
    if content[4:8] != IDENTIFIER:
        raise ModelError(
            f"not a TFLite model: {len(content)} bytes with the identifier {content[4:8]!r}, "
            f"expected {IDENTIFIER!r}; give a .tflite file"
        )
    try:
        return schema.ModelT.InitFromPackedBuf(content, 0)
    except Exception as error:  # whatever the schema's reader stumbles over
        raise damaged(content, error) from None


def damaged(content: bytes, error: Exception) -> ModelError:
    """What to raise where reading `content` ended with `error`."""
    return ModelError(
        f"the TFLite model of {len(content)} bytes is damaged ({type(error).__name__}: {error}): make or fetch it anew"
    )


def unpack(content: bytes) -> Any:
    """The ModelT of a flatbuffer with one subgraph and one input.

    Raises
    ------
    ModelError
        It is none, or one that cannot be rewritten here.
    """
    model = load(content)
    if len(model.subgraphs) != 1:
        raise ModelError(
            f"the model has {len(model.subgraphs)} subgraphs, expected 1: one with control flow cannot be rewritten"
        )
    if any(buffer.offset > 1 for buffer in model.buffers):
        raise ModelError("the model keeps buffers outside its flatbuffer, expected them inside")
    inputs = model.subgraphs[0].inputs
    if len(inputs) != 1:
        raise ModelError(f"the model has {len(inputs)} inputs, expected 1")
    return model


class _Aligned(flatbuffers.Builder):
    """Puts vectors of bytes, which buffers hold, at multiples of ALIGNMENT."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        self.Prep(ALIGNMENT if elemSize == 1 else alignment, elemSize * numElems)
        return super().StartVector(elemSize, numElems, alignment)


class _Sharing(_Aligned):
    """Writes equal vectors and strings once."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._vectors: dict[tuple[str, bytes], int] = {}
        self._strings: dict[str | bytes, int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._vectors:
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


def write(model: Any) -> bytes:
    """The flatbuffer of a ModelT. Same model, same bytes."""
    return _written(model, _Aligned(1 << 16))


def pack(model: Any) -> bytes:
    """The same, no larger than it has to be: what is equal is written once.

    So are vectors and strings, and tables that are one object in the model.
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
    try:
        return _written(model, _Sharing(1 << 20))
    finally:
        for tensor, quantization in tensors:
            tensor.quantization = quantization
        for operator, options in operators:
            operator.builtinOptions = options


def _written(model: Any, builder: flatbuffers.Builder) -> bytes:
    builder.Finish(model.Pack(builder), IDENTIFIER)
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
