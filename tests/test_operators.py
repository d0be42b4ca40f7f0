"""The gate: what an int8 model may be made of, for models that were made elsewhere too."""

import subprocess
import sys
import warnings
from functools import cache

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from conftest import ROOT, TOY

from pipeline.errors import ModelError
from pipeline.models import lightsernet
from pipeline.models.folding import classifier_as_convolution, fold
from pipeline.params import Model
from pipeline.tflite import converter, graph, operators
from pipeline.tflite.graph import Graph, Operator, Tensor

X = np.random.default_rng(0).normal(0, 4, (4, 24, 20, 1)).astype(np.float32)


@cache
def network() -> tf_keras.Model:
    p = Model(**TOY["model"], dropout=0.3, l2=1e-6, bn_momentum=0.9)
    return classifier_as_convolution(fold(lightsernet.build(24, 20, 4, p)))


def quantized_elsewhere(
    model: tf_keras.Model, io: tf.DType = tf.int8, ops: tf.lite.OpsSet | None = None
) -> bytes:
    """Post-training quantization by TFLite's converter itself, without this project's checks."""
    made = tf.lite.TFLiteConverter.from_keras_model(model)
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    made.inference_input_type = made.inference_output_type = io
    shape = model.input_shape[1:]
    made.representative_dataset = lambda: ([np.resize(x, (1, *shape))] for x in X)
    made.target_spec.supported_ops = [ops or tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with warnings.catch_warnings():
        # Said of every conversion to int8 with int8 input: about a setting of the old converter.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs were expected")
        return made.convert()


def after_input(*layers: tf_keras.layers.Layer) -> tf_keras.Model:
    inputs = tf_keras.layers.Input(X.shape[1:])
    x = inputs
    for layer in layers:
        x = layer(x)
    return tf_keras.Model(inputs, x)


def test_the_network_passes() -> None:
    content = converter.to_int8(network(), X)
    operators.check_int8(content)
    assert operators.problems(graph.read(content)) == []


def test_a_float_file_is_refused_and_its_tensors_named() -> None:
    with pytest.raises(ModelError, match=r"tensors are not in eight bits \(\d+ FLOAT32\): .*int8"):
        operators.check_int8(converter.to_float(network()))


def test_float_at_the_ends_is_refused() -> None:
    with pytest.raises(ModelError, match=r"2 FLOAT32.*has QUANTIZE, DEQUANTIZE"):
        operators.check_int8(quantized_elsewhere(network(), io=tf.float32))


def test_activations_of_sixteen_bits_are_refused() -> None:
    int16 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    content = quantized_elsewhere(network(), io=tf.int16, ops=int16)
    assert not [t for t in graph.read(content).tensors if t.type.startswith("FLOAT")]
    with pytest.raises(ModelError, match="INT16"):
        operators.check_int8(content)


def test_an_operator_that_is_not_allowed_is_named_and_counted() -> None:
    model = after_input(
        tf_keras.layers.Conv2D(2, 3),
        tf_keras.layers.Activation("sigmoid"),
        tf_keras.layers.Conv2D(2, 3),
        tf_keras.layers.Activation("sigmoid"),
    )
    with pytest.raises(ModelError, match=r"not allowed: LOGISTIC \(2\); express them by CONV_2D"):
        operators.check_int8(quantized_elsewhere(model))


def test_the_network_fails_where_one_of_its_operators_is_off_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = converter.to_int8(network(), X)
    monkeypatch.delitem(operators.ALLOWED, "AVERAGE_POOL_2D")
    with pytest.raises(ModelError, match=r"AVERAGE_POOL_2D \(7\)"):
        operators.check_int8(content)


@pytest.mark.parametrize("name", ["SLICE", "STRIDED_SLICE", "SPLIT", "PAD", "PADV2"])
def test_what_tiling_adds_passes(name: str) -> None:
    assert operators.problems(of_one(name)) == []
    assert hasattr(schema.BuiltinOperator, name)  # an operator of TFLite, rightly spelt


def of_one(name: str, output: str = "INT8", begin: str = "INT32") -> Graph:
    tensors = [
        Tensor("in", (1, 8, 4, 2), "INT8", False),
        Tensor("begin", (4,), begin, True),
        Tensor("out", (1, 4, 4, 2), output, False),
    ]
    return Graph(tensors, [Operator(name, (0, 1), (2,))], (0,), (2,))


def test_constants_may_be_wider_and_activations_may_not() -> None:
    assert operators.problems(of_one("SLICE", begin="INT64")) == []
    (found,) = operators.problems(of_one("SLICE", output="INT32"))
    assert found.startswith("1 tensors are not in eight bits (1 INT32): out")
    (found,) = operators.problems(of_one("SLICE", begin="FLOAT16"))
    assert "begin" in found


def test_every_allowed_operator_is_one_of_tflites() -> None:
    assert set(operators.ALLOWED) <= set(vars(schema.BuiltinOperator))


def test_all_problems_are_told_at_once() -> None:
    read = of_one("TANH", output="FLOAT32")
    read.operators.append(Operator("CAST", (2,), (2,)))
    assert len(operators.problems(read)) == 3


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", b"TFL3"])
def test_what_is_no_model_is_said_in_one_line(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"not a TFLite model.*expected b'TFL3'"):
        operators.check_int8(content)


def test_a_file_that_was_cut_off_is_said_in_one_line() -> None:
    content = converter.to_int8(network(), X)
    for length in (8, 400, len(content) // 2):
        with pytest.raises(ModelError, match=rf"the TFLite model of {length} bytes is damaged"):
            operators.check_int8(content[:length])


def test_a_flipped_bit_gives_a_graph_or_is_said_in_one_line() -> None:
    content = converter.to_int8(network(), X)
    rng = np.random.default_rng(0)
    said = set()
    for bit in rng.choice(8 * len(content), 1000, replace=False):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            read = graph.read(bytes(flipped))
        except ModelError as problem:
            said.add(str(problem))
            assert len(str(problem)) < 300
            assert "\n" not in str(problem)
        else:
            read.spans()  # its tensors are there
    assert any("IndexError" in problem for problem in said)


def test_neither_the_gate_nor_what_describes_a_model_needs_tensorflow() -> None:
    code = (
        "import sys; import pipeline.tflite.operators, pipeline.mcu.picture, pipeline.mcu.latency, "
        "pipeline.mcu.npu; print([m for m in ('tensorflow', 'librosa') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], text=True, cwd=ROOT, capture_output=True)
    assert printed.stdout == "[]\n"
