"""Running an int8 flatbuffer in LiteRT, with the quantization of its input made explicit."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType


def quantize(x: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Real numbers to int8 as TFLite's QUANTIZE does: round half away from zero, then limit.

    Parameters
    ----------
    x : np.ndarray, any shape
    scale, zero_point : x ≈ scale · (q − zero_point)
    """
    steps = x / np.float32(scale)
    rounded = np.trunc(steps + np.copysign(np.float32(0.5), steps))
    return np.clip(rounded + zero_point, -128, 127).astype(np.int8)


class Int8Model:
    """An int8 flatbuffer.

    Parameters
    ----------
    content : the flatbuffer
    reference : run LiteRT's reference kernels, which TFLite Micro's equal bit for bit, instead of
        its optimized ones, which are ten times faster and may differ by a step
    keep_tensors : let no tensor take the place of another, so that `tensor` can read them
    """

    def __init__(self, content: bytes, reference: bool = True, keep_tensors: bool = False) -> None:
        resolver = (
            OpResolverType.BUILTIN_REF
            if reference
            else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        self._interpreter = Interpreter(
            model_content=content,
            experimental_op_resolver_type=resolver,
            experimental_preserve_all_tensors=keep_tensors,
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    @property
    def input_quantization(self) -> tuple[float, int]:
        """Scale and zero point of the input."""
        return self._input["quantization"]

    @property
    def output_quantization(self) -> tuple[float, int]:
        """Scale and zero point of the output."""
        return self._output["quantization"]

    def quantized(self, x: np.ndarray) -> np.ndarray:
        """`x` [shape=(clips, frames, bins, 1)] as the int8 input."""
        return quantize(x, *self.input_quantization)

    def run(self, x: np.ndarray) -> np.ndarray:
        """int8 outputs [shape=(clips, classes)] of float features [shape=(clips, frames, bins, 1)]."""
        outputs = []
        for clip in self.quantized(x):
            self._interpreter.set_tensor(self._input["index"], clip[np.newaxis])
            self._interpreter.invoke()
            outputs.append(self._interpreter.get_tensor(self._output["index"])[0].copy())
        return np.array(outputs)

    def tensor(self, number: int) -> np.ndarray:
        """A tensor of the graph after the last clip that was run."""
        return self._interpreter.get_tensor(number)

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """int8 outputs as probabilities."""
        scale, zero_point = self.output_quantization
        return (outputs.astype(np.float32) - zero_point) * scale
