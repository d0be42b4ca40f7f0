"""Flatbuffers of pieces of a network."""

from copy import deepcopy

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.tflite import flatbuffer


class Writer:
    """A piece of `model`, taken over operator by operator.

    Tensors are numbered as in the whole model; each keeps its quantization, and gets the shape
    that is asked for. Names are left out: they only take flash.
    """

    def __init__(self, model: schema.ModelT) -> None:
        self._model = model
        self._source = model.subgraphs[0]
        self._buffers = [schema.BufferT()]  # number 0 is the empty one, by the format's rule
        self._codes: list[schema.OperatorCodeT] = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []

    def tensor(self, number: int, shape: tuple[int, ...] | None = None) -> int:
        """Take over a tensor; returns its number in the piece."""
        source = self._source.tensors[number]
        tensor = schema.TensorT()
        tensor.type = source.type
        tensor.shape = np.asarray(source.shape if shape is None else shape, np.int32)
        quantization = deepcopy(source.quantization)
        if quantization is not None:
            quantization.min = quantization.max = None
        tensor.quantization = quantization
        data = self._model.buffers[source.buffer].data
        if data is not None:
            tensor.buffer = len(self._buffers)
            buffer = schema.BufferT()
            buffer.data = data
            self._buffers.append(buffer)
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def operator(self, number: int, inputs: list[int], output: int) -> schema.OperatorT:
        """Take over an operator with the piece's own numbers of tensors."""
        source = self._source.operators[number]
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(source.opcodeIndex)
        operator.inputs = np.asarray(inputs, np.int32)
        operator.outputs = np.asarray([output], np.int32)
        operator.builtinOptionsType = source.builtinOptionsType
        operator.builtinOptions = deepcopy(source.builtinOptions)
        self._graph.operators.append(operator)
        return operator

    def _code(self, index: int) -> int:
        code = deepcopy(self._model.operatorCodes[index])
        for known, other in enumerate(self._codes):
            if vars(other) == vars(code):
                return known
        self._codes.append(code)
        return len(self._codes) - 1

    def finish(self, inputs: list[int], output: int) -> bytes:
        """The flatbuffer, with these tensors of the piece as its inputs and output."""
        self._graph.inputs = np.asarray(inputs, np.int32)
        self._graph.outputs = np.asarray([output], np.int32)
        piece = schema.ModelT()
        piece.version = self._model.version
        piece.operatorCodes, piece.buffers = self._codes, self._buffers
        piece.subgraphs = [self._graph]
        return flatbuffer.write(piece)
