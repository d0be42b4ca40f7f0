"""Scratch memory that optimized convolution kernels ask of TFLite Micro's arena.

It is given to one operator at a time, so the largest request counts. The reference kernels, which the
arena is measured with, ask for none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from pipeline.mcu.cores import CMSIS_NN, ESP_NN
from pipeline.tflite.graph import CONVOLUTIONS, Graph, Operator

_CMSIS_NN_COLUMNS = 4  # that its convolutions lay side by side, a byte for each weight of a filter
_CMSIS_NN_LANES = 16  # bytes of a vector register, which a column fills up
_CMSIS_NN_BLOCK = 124  # channels that its depthwise convolutions take at a time
_ESP_NN_ALIGNMENT = 32  # bytes that a convolution of ESP-NN may skip to reach an aligned address
_ESP_NN_DEPTHWISE_ALIGNMENT = 16


def largest(graphs: Iterable[Graph]) -> dict[str, int]:
    """The largest request of any convolution of `graphs`, in bytes, by whose kernels run.

    An upper bound of what the arena grows by: the planner may find room for a part of it where no
    activation lies.
    """
    convolutions = [
        _Convolution.of(graph, operator)
        for graph in graphs
        for operator in graph.operators
        if operator.name in CONVOLUTIONS
    ]
    return {
        kernels: max(map(request, convolutions), default=0)
        for kernels, request in {CMSIS_NN: _cmsis_nn, ESP_NN: _esp_nn}.items()
    }


@dataclass(frozen=True)
class _Convolution:
    """Sizes of a convolution: rows and columns, then channels."""

    depthwise: bool
    input: tuple[int, int]
    channels: int
    output: tuple[int, int]
    output_channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]

    @staticmethod
    def of(graph: Graph, operator: Operator) -> "_Convolution":
        _, rows, columns, channels = graph.tensors[operator.inputs[0]].shape
        _, out_rows, out_columns, out_channels = graph.tensors[operator.outputs[0]].shape
        # Rows and columns stand in the middle: of a depthwise convolution, too.
        _, kernel_rows, kernel_columns, _ = graph.tensors[operator.inputs[1]].shape
        return _Convolution(
            operator.name == "DEPTHWISE_CONV_2D", (rows, columns), channels, (out_rows, out_columns),
            out_channels, (kernel_rows, kernel_columns), operator.strides,
        )  # fmt: skip

    @property
    def padding(self) -> tuple[int, int]:
        """Rows above and columns to the left, as TFLite Micro says them to a kernel.

        Of an odd number the one more lies on the other side, and is not said.
        """
        rows, columns = (
            max(0, (out - 1) * stride + kernel - size) // 2
            for size, out, kernel, stride in zip(
                self.input, self.output, self.kernel, self.strides, strict=True
            )
        )
        return rows, columns

    @property
    def padded_bytes(self) -> int:
        """Of the input with its padding on both sides."""
        padded = (size + 2 * pad for size, pad in zip(self.input, self.padding, strict=True))
        return prod(padded) * self.channels

    @property
    def input_bytes(self) -> int:
        return prod(self.input) * self.channels


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _cmsis_nn(of: _Convolution) -> int:
    """The most that any build of CMSIS-NN asks for: with vector instructions or without.

    arm_convolve_s8_get_buffer_size_mve in arm_convolve_get_buffer_sizes_s8.c, and the functions for
    arm_depthwise_conv_s8_opt, with and without vectors, of CMSIS-NN 2.3; earlier releases round less.
    """
    if of.depthwise:
        vectors, halves = _CMSIS_NN_COLUMNS * _CMSIS_NN_BLOCK, 2 * of.output_channels
        return prod(of.kernel) * max(vectors, halves)
    return _CMSIS_NN_COLUMNS * _up(prod(of.kernel) * of.channels, _CMSIS_NN_LANES)


def _esp_nn(of: _Convolution) -> int:
    """As ESP-NN reckons it for the ESP32-S3; its later releases divide the work in other ways.

    esp_nn_get_conv_scratch_size_esp32s3 in src/convolution/esp_nn_conv_esp32s3.c of espressif/esp-nn
    at commit a4ef344, and esp_nn_get_depthwise_conv_scratch_size_esp32s3 in the file beside it. There
    is room for a copy of all filters, at aligned addresses, and for one of an input that is padded.
    """
    if of.depthwise:
        return _esp_nn_depthwise(of)
    if of.kernel == (1, 1) and of.strides == (1, 1):
        channels = _up(of.channels, 8)
        places = prod(of.input)
        copied = places * channels if of.channels != channels else 0
        transposed = 2 * 8 * channels if places >= 8 else 0
        return copied + channels * of.output_channels + transposed + _ESP_NN_ALIGNMENT
    copied = of.padded_bytes if any(of.padding) else 0
    filters = prod(of.kernel) * _up(of.channels, 16) * of.output_channels
    sums = 4 * of.output_channels
    return copied + filters + sums + _ESP_NN_ALIGNMENT


def _esp_nn_depthwise(of: _Convolution) -> int:
    multiplier = of.output_channels // of.channels
    filters = prod(of.kernel) * of.output_channels
    if multiplier == 1 and of.channels % 16 == 0 and of.kernel == (3, 3):
        if any(of.padding):
            return filters + of.padded_bytes + _ESP_NN_DEPTHWISE_ALIGNMENT
        # The kernel reads as far as if there were one more step to the right and below.
        rows, columns = (
            out * stride + kernel - 1
            for out, stride, kernel in zip(of.output, of.strides, of.kernel, strict=True)
        )
        copied = 0 if (rows, columns) == of.input else rows * columns * of.channels
        return filters + copied + _ESP_NN_DEPTHWISE_ALIGNMENT
    if multiplier % 4 == 0 or (
        multiplier == 1 and of.channels % 8 == 0 and of.kernel == (3, 3)
    ):  # in 16 bits
        return 2 * (filters + of.input_bytes) + _ESP_NN_DEPTHWISE_ALIGNMENT
    return 32
