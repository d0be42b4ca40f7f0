"""Scratch memory of optimized kernels: the makers' own formulas, on cases reckoned by hand."""

import pytest
from test_int8 import ptq

from pipeline.mcu import scratch
from pipeline.tflite import graph
from pipeline.tflite.graph import Graph, Operator, Tensor


def convolution(
    input: tuple[int, int, int], weights: tuple[int, int, int, int],
    output: tuple[int, int, int], strides: tuple[int, int] = (1, 1), depthwise: bool = False,
) -> Graph:  # fmt: skip
    """A graph of one convolution: rows, columns, channels of input and output."""
    tensors = [
        Tensor("in", (1, *input), "INT8", False),
        Tensor("weights", weights, "INT8", True),
        Tensor("out", (1, *output), "INT8", False),
    ]
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    return Graph(tensors, [Operator(name, (0, 1), (2,), strides)], (0,), (2,))


def esp_nn(*graphs: Graph) -> int:
    return scratch.largest(graphs)["ESP-NN"]


def test_a_padded_convolution_takes_its_input_its_filters_and_their_sums() -> None:
    found = convolution((92, 20, 96), (64, 3, 3, 96), (92, 20, 64))
    assert esp_nn(found) == 94 * 22 * 96 + 9 * 96 * 64 + 4 * 64 + 32
    # Without padding the input stays where it is.
    valid = convolution((92, 20, 96), (64, 3, 3, 96), (90, 18, 64))
    assert esp_nn(valid) == 9 * 96 * 64 + 4 * 64 + 32


def test_the_channels_of_a_filter_count_in_sixteens_and_those_of_the_input_as_they_are() -> None:
    found = convolution((10, 10, 12), (8, 3, 3, 12), (10, 10, 8))
    assert esp_nn(found) == 12 * 12 * 12 + 9 * 16 * 8 + 4 * 8 + 32


def test_padding_is_what_lies_above_and_to_the_left() -> None:
    # 2 · 4 + 3 - 10 = 1 row or column of padding, which lies below and to the right.
    even = convolution((10, 10, 16), (8, 3, 3, 16), (5, 5, 8), (2, 2))
    assert esp_nn(even) == 9 * 16 * 8 + 4 * 8 + 32
    # 2 · 5 + 3 - 11 = 2 of rows, one of them above; of columns as before.
    odd = convolution((11, 10, 16), (8, 3, 3, 16), (6, 5, 8), (2, 2))
    assert esp_nn(odd) == 13 * 10 * 16 + 9 * 16 * 8 + 4 * 8 + 32


@pytest.mark.parametrize(
    ("input", "bytes"),
    [
        ((2, 5, 160), 160 * 7 + 16 * 160 + 32),  # in place, transposed eight places at a time
        ((1, 5, 160), 160 * 7 + 32),  # fewer than eight places
        ((2, 5, 12), 2 * 5 * 16 + 16 * 7 + 16 * 16 + 32),  # channels in eights: the input is copied
    ],
)
def test_a_pointwise_convolution(input: tuple[int, int, int], bytes: int) -> None:
    *size, channels = input
    assert esp_nn(convolution(input, (7, 1, 1, channels), (*size, 7))) == bytes


def test_a_pointwise_convolution_with_a_stride_takes_the_general_way() -> None:
    found = convolution((10, 10, 32), (8, 1, 1, 32), (5, 5, 8), (2, 2))
    assert esp_nn(found) == 32 * 8 + 4 * 8 + 32


def test_a_depthwise_convolution_takes_what_its_makers_report() -> None:
    # "On a DS-CNN a 49x20x32 layer got 32944 bytes", 3x3, stride 2: espressif/esp-nn, pull request 37.
    found = convolution((49, 20, 32), (1, 3, 3, 32), (25, 10, 32), (2, 2), depthwise=True)
    assert esp_nn(found) == 32_944


@pytest.mark.parametrize(
    ("channels", "out", "kernel", "bytes"),
    [
        (32, 32, (3, 3), 12 * 12 * 32 + 9 * 32 + 16),
        (8, 8, (3, 3), 2 * (10 * 10 * 8 + 9 * 8) + 16),  # in 16 bits
        (4, 16, (5, 5), 2 * (10 * 10 * 4 + 25 * 16) + 16),  # four outputs a channel, in 16 bits
        (32, 32, (5, 5), 32),
        (12, 12, (3, 3), 32),
    ],
)
def test_depthwise_convolutions_of_other_shapes(
    channels: int, out: int, kernel: tuple[int, int], bytes: int
) -> None:
    shape = (1, *kernel, out)
    found = convolution((10, 10, channels), shape, (10, 10, out), depthwise=True)
    assert esp_nn(found) == bytes


def test_a_depthwise_convolution_without_padding_reads_one_step_further() -> None:
    found = convolution((10, 10, 32), (1, 3, 3, 32), (8, 8, 32), depthwise=True)
    assert esp_nn(found) == 9 * 32 + 16
    strided = convolution((10, 10, 32), (1, 3, 3, 32), (4, 4, 32), (2, 2), depthwise=True)
    assert esp_nn(strided) == 9 * 32 + 16
    further = convolution((9, 9, 32), (1, 3, 3, 32), (4, 4, 32), (2, 2), depthwise=True)
    assert esp_nn(further) == 10 * 10 * 32 + 9 * 32 + 16


def test_cmsis_nn_takes_four_columns_of_the_largest_filter_whatever_the_input() -> None:
    for rows in (10, 1000):
        found = convolution((rows, 20, 96), (64, 3, 3, 96), (rows, 20, 64))
        assert scratch.largest([found])["CMSIS-NN"] == 4 * 3 * 3 * 96
    # A column fills up a register of 16 bytes: 3 · 3 · 5 = 45 weights take 48.
    odd = convolution((10, 20, 5), (64, 3, 3, 5), (10, 20, 64))
    assert scratch.largest([odd])["CMSIS-NN"] == 4 * 48


def test_a_depthwise_convolution_takes_a_block_of_channels_with_vectors_or_all_without() -> None:
    for channels, expected in ((8, 4 * 124), (80, 4 * 124), (512, 2 * 512)):
        of = convolution((9, 9, channels), (1, 3, 3, channels), (9, 9, channels), depthwise=True)
        assert scratch.largest([of])["CMSIS-NN"] == 3 * 3 * expected


def test_one_operator_runs_at_a_time_so_the_largest_request_counts() -> None:
    small = convolution((10, 10, 16), (8, 3, 3, 16), (10, 10, 8))
    large = convolution((10, 10, 16), (80, 3, 3, 16), (10, 10, 80))
    assert esp_nn(small, large) == esp_nn(large, small) == esp_nn(large) > esp_nn(small)
    assert scratch.largest([]) == {"CMSIS-NN": 0, "ESP-NN": 0}


def test_strides_are_read_off_the_flatbuffer() -> None:
    operators = graph.read(ptq()).operators
    assert {op.strides for op in operators if op.name == "CONV_2D"} == {(1, 1)}
    # Rows before columns: one pool of the network halves its rows only.
    assert {op.strides for op in operators if op.name in graph.POOLS} == {(2, 1), (2, 2)}
