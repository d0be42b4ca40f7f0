"""Eight bits: no needless operator, no float tensor, and the same bits as on the device."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from conftest import TOY
from test_folding import randomise

from pipeline import evaluate, paths, splits
from pipeline.convert import fidelity
from pipeline.dataset import Data
from pipeline.errors import ModelError
from pipeline.evaluate import round_to_float16
from pipeline.mcu import equality, runtimes, stream
from pipeline.mcu.arena import Micro, smallest
from pipeline.mcu.runtimes import Disagreement
from pipeline.models import lightsernet, qat
from pipeline.models.folding import classifier_as_convolution, fold
from pipeline.models.inference import predict
from pipeline.params import Model, Params
from pipeline.splits import Fold
from pipeline.tflite import converter, flatbuffer, graph, streaming
from pipeline.tflite.int8 import Int8Model, quantize

CLASSES = 5
X = np.random.default_rng(0).normal(0, 4, (24, 59, 40, 1)).clip(-10, 10).astype(np.float32)

KINDS: dict[str, dict[str, object]] = {
    "standard": {}, "separable": {"body": "separable"}, "two members": {"members": 2},
}  # fmt: skip


@cache
def folded(kind: str = "standard") -> tf_keras.Model:
    widths = TOY["model"] | KINDS[kind]
    model = lightsernet.build(
        59, 40, CLASSES, Model(**widths, dropout=0.3, l2=1e-6, bn_momentum=0.9)
    )
    randomise(model)
    dense = model.get_layer("emotion")
    # Probabilities that are neither 0 nor 1: a saturated softmax hides every difference before it.
    dense.set_weights([0.02 * dense.get_weights()[0], dense.get_weights()[1]])
    return classifier_as_convolution(fold(model))


@cache
def teacher(kind: str = "standard") -> np.ndarray:
    return predict(folded(kind), X)


@cache
def ptq(kind: str = "standard") -> bytes:
    return converter.to_int8(folded(kind), X)


def fine_tuned(
    toy: Params, kind: str = "standard", on_epoch: Callable[[], object] = lambda: None, **changes: object
) -> qat.Tuned:  # fmt: skip
    p = toy.quantize.model_copy(update=changes)
    network, targets = folded(kind), teacher(kind)
    return qat.fine_tune(
        network.to_json(), network.get_weights(), Data(X, targets.argmax(axis=1)), targets, CLASSES,
        p, seed=0, on_epoch=on_epoch,
    )  # fmt: skip


def tune(toy: Params, kind: str = "standard", **changes: object) -> tf_keras.Model:
    return qat.rebuild(folded(kind), fine_tuned(toy, kind, **changes).weights)


def operators(content: bytes) -> dict[str, int]:
    return graph.read(content).histogram()


EXPECTED = {
    "CONV_2D": 9, "AVERAGE_POOL_2D": 7, "CONCATENATION": 1, "MEAN": 1, "RESHAPE": 1, "SOFTMAX": 1,
}  # fmt: skip


def test_post_training_quantization_has_no_needless_operator() -> None:
    assert operators(ptq()) == EXPECTED


def test_fine_tuning_adds_no_operator_and_tfmots_defaults_do(toy: Params) -> None:
    assert operators(converter.to_int8(tune(toy))) == EXPECTED
    default = tfmot.quantization.keras.quantize_model(folded())
    default.compile("adam", "categorical_crossentropy")
    default.fit(X, teacher(), verbose=0)
    with pytest.raises(ModelError, match="the int8 graph has QUANTIZE"):
        converter.to_int8(default)


def test_every_kernel_is_fine_tuned_in_eight_bits_per_channel() -> None:
    model = qat.annotate(folded())
    quantized = {
        layer.name: layer.quantize_config
        for layer in model.layers
        if isinstance(getattr(layer, "layer", None), tf_keras.layers.Conv2D)
    }
    assert len(quantized) == 9
    assert {type(config) for config in quantized.values()} == {qat.KernelOnly, qat.KernelAndScale}
    for name in quantized:
        layer = model.get_layer(name)
        ranges = [v for v in layer.non_trainable_variables if "kernel_max" in v.name]
        assert [tuple(v.shape) for v in ranges] == [(layer.layer.filters,)]


def test_kernels_of_a_separable_body_have_a_scale_for_each_channel_too(toy: Params) -> None:
    content = converter.to_int8(tune(toy, "separable"))
    assert operators(content) == EXPECTED | {"DEPTHWISE_CONV_2D": 4}
    loaded = flatbuffer.load(content)
    tensors = loaded.subgraphs[0].tensors
    kernels = [
        tensors[operator.inputs[1]]
        for operator, named in zip(loaded.subgraphs[0].operators, graph.read(content).operators, strict=True)
        if named.name == "DEPTHWISE_CONV_2D"
    ]  # fmt: skip
    for kernel, channels in zip(kernels, [12, 4, 6, 8], strict=True):
        steps = loaded.buffers[kernel.buffer].data.view(np.int8).reshape(kernel.shape)
        assert len(kernel.quantization.scale) == channels
        # Each channel uses its eight bits to the full; with one scale for all, one of them would.
        assert (np.abs(steps).max(axis=(0, 1, 2)) == 127).all()


def test_members_run_side_by_side_without_a_needless_operator(toy: Params) -> None:
    twice = {name: 2 * EXPECTED[name] for name in ("CONV_2D", "AVERAGE_POOL_2D")}
    twice["CONV_2D"] -= 1  # one classifier for both
    for content in (ptq("two members"), converter.to_int8(tune(toy, "two members"))):
        assert operators(content) == EXPECTED | twice | {"CONCATENATION": 3}


@pytest.mark.parametrize("kind", ["separable", "two members"])
def test_other_kinds_follow_their_fine_tuned_model_as_closely(toy: Params, kind: str) -> None:
    tuned = tune(toy, kind)
    said = fidelity(converter.to_int8(tuned), X, teacher(kind).argmax(axis=1), predict(tuned, X))
    assert said.divergence < 0.0005


def test_fine_tuning_starts_at_the_float_models_ranges(toy: Params) -> None:
    # A rate too small to move a weight: what is left is where the ranges were set.
    at_start = converter.to_int8(tune(toy, learning_rate=1e-12))
    labels = teacher().argmax(axis=1)
    assert fidelity(at_start, X, labels, teacher()).divergence < 0.0005


def test_fine_tuning_starts_badly_without_the_ranges(
    toy: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qat, "calibrate", lambda *_: None)
    at_start = converter.to_int8(tune(toy, learning_rate=1e-12))
    labels = teacher().argmax(axis=1)
    assert fidelity(at_start, X, labels, teacher()).divergence > 0.002


def test_fine_tuning_goes_as_long_and_towards_what_its_parameters_say(toy: Params) -> None:
    epochs: list[int] = []
    of_labels, of_teacher = (
        fine_tuned(toy, on_epoch=lambda: epochs.append(1), distill=share, epochs=2)
        for share in (0.0, 1.0)
    )
    assert len(of_labels.loss) == len(of_teacher.loss) == 2
    assert len(epochs) == 4
    pairs = zip(of_labels.weights, of_teacher.weights, strict=True)
    assert not all(np.array_equal(one, other) for one, other in pairs)
    # Cross-entropy of the probabilities that it starts at, with the labels and with themselves.
    said = teacher()
    assert of_labels.loss[0] == pytest.approx(-np.log(said.max(axis=1)).mean(), rel=0.02)
    assert of_teacher.loss[0] == pytest.approx(-(said * np.log(said)).sum(axis=1).mean(), rel=0.02)


def test_a_model_that_is_not_folded_is_refused(toy: Params) -> None:
    with pytest.raises(ModelError, match="no quantization is known for layer time_bn"):
        qat.plan(lightsernet.build(59, 40, CLASSES, toy.model))


def test_a_float_file_is_no_int8_file() -> None:
    with pytest.raises(ModelError, match="tensors are not in eight bits"):
        converter.check_int8(converter.to_float(folded()))


def run_float(content: bytes) -> np.ndarray:
    """What a float file says of X [shape=(clips, classes)]."""
    interpreter = Interpreter(model_content=content)
    interpreter.resize_tensor_input(0, X.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], X)
    interpreter.invoke()
    said: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return said


def test_the_float16_file_is_scored_by_the_weights_that_it_holds() -> None:
    model = folded()
    round_to_float16(model)
    difference = np.abs(run_float(converter.to_float16(folded())) - predict(model, X)).max()
    assert difference < 1e-6
    # The negative control: the weights as they were give something else.
    assert np.abs(predict(model, X) - teacher()).max() > 10 * difference


def test_float_files_are_the_float_model() -> None:
    sizes = []
    for content, tolerance in (
        (converter.to_float(folded()), 1e-4),
        (converter.to_float16(folded()), 1e-2),
    ):
        np.testing.assert_allclose(run_float(content), teacher(), atol=tolerance)
        sizes.append(len(content))
    assert sizes[1] < sizes[0]


def test_input_is_rounded_and_limited_as_tflites_own_operator_does() -> None:
    class OnlyQuantize(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, 4096], tf.float32)])
        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            return tf.quantization.fake_quant_with_min_max_args(x, -6.0, 10.0)

    module = OnlyQuantize()
    keras = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.__call__.get_concrete_function()], module
    )
    keras.optimizations = [tf.lite.Optimize.DEFAULT]
    # The reference kernels round as TFLite Micro does; XNNPACK rounds half to even.
    interpreter = Interpreter(
        model_content=keras.convert(), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    detail = next(
        d for d in interpreter.get_tensor_details() if d["dtype"] == np.int8 and d["shape"].size
    )
    scale, zero_point = detail["quantization"]
    steps = np.concatenate([np.arange(-1024, 1024) / 4, np.linspace(-300, 300, 2048)])
    x = (steps * scale).astype(np.float32)[None]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    out = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    ours = (quantize(x, scale, zero_point).astype(np.float32) - zero_point) * np.float32(scale)
    np.testing.assert_allclose(ours, out, atol=1e-6)
    assert list(quantize(np.float32([-1e9, 0, 1e9]), 0.1, 3)) == [-128, 3, 127]


def test_tflite_micro_equals_litert_reference_bit_for_bit(toy: Params) -> None:
    for content in (ptq(), *(converter.to_int8(tune(toy, kind)) for kind in KINDS)):
        assert runtimes.disagreement(content, X, 1 << 20) == Disagreement(0, 0)


@pytest.mark.parametrize("as_convolution", [True, False])
def test_a_dense_classifier_is_why_it_became_a_convolution(as_convolution: bool) -> None:
    inputs = tf_keras.layers.Input((1, 1, 320))
    x = tf_keras.layers.GlobalAveragePooling2D()(inputs)
    x = tf_keras.layers.Dense(7, activation="softmax")(x)
    model = tf_keras.Model(inputs, x)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.08, w.shape) for w in model.get_weights()])
    x = np.abs(rng.standard_normal((3000, 1, 1, 320))).astype(np.float32)
    content = converter.to_int8(
        classifier_as_convolution(model) if as_convolution else model, x[:100]
    )
    difference = runtimes.disagreement(content, x, 1 << 18)
    if as_convolution:
        assert difference == Disagreement(0, 0)
    else:
        assert difference.outputs > 0
        assert difference.inner_tensors > 0


def test_the_comparison_notices_another_model(toy: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Micro):
        def run(self, x: np.ndarray) -> np.ndarray:
            return super().run(np.roll(x, 1, axis=1))  # every frame one later

    monkeypatch.setattr(runtimes, "Micro", Other)
    found = runtimes.disagreement(ptq(), X, 1 << 20)
    assert found.outputs > 0
    assert found.inner_tensors > found.outputs


def test_a_comparison_of_no_clips_is_none() -> None:
    with pytest.raises(ValueError, match="no clips to compare"):
        runtimes.disagreement(ptq(), X[:0], 1 << 20)
    with pytest.raises(ValueError, match="no clips to compare"):
        equality.difference(ptq(), ptq(), X[:0], 1 << 20)
    none = Int8Model(ptq()).quantized(X[:0])
    with pytest.raises(ValueError, match="no clips to compare"):
        stream.compare(ptq(), streaming.split(ptq()), none)


@pytest.mark.parametrize("worst", [Disagreement(1, 0), Disagreement(0, 1)])
def test_a_step_between_the_runtimes_in_one_fold_stops_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worst: Disagreement
) -> None:
    folds = [
        Fold("fold-1", ["c", "d"], ["e"], ["b", "a", "f"]),
        Fold(splits.FINAL, ["d", "c", "b"], [], []),
    ]
    for each in folds:
        (tmp_path / each.name).mkdir()
        (tmp_path / each.name / "model.tflite").write_bytes(ptq())
    data = SimpleNamespace(x=X, rows=lambda clips: ["abcdef".index(clip) for clip in clips])
    arena = SimpleNamespace(arena=SimpleNamespace(bytes=0))
    measured = SimpleNamespace(deployed=SimpleNamespace(plain=arena))
    monkeypatch.setattr(paths, "TFLITE", tmp_path)

    def check(*found: Disagreement) -> dict[str, Disagreement]:
        said, given = iter(found), []

        def disagreement(content: bytes, x: np.ndarray, arena_bytes: int) -> Disagreement:
            given.append(x)
            return next(said)

        monkeypatch.setattr(evaluate, "disagreement", disagreement)
        try:
            return evaluate.check_runtimes(data, folds, measured, 2)
        finally:  # on what each fold tests; the final one tests nothing
            np.testing.assert_array_equal(given, [X[[1, 0]], X[[3, 2]]])

    same = Disagreement(0, 0)
    assert check(same, same) == {"fold-1": same, splits.FINAL: same}
    with pytest.raises(ModelError, match="expected the same bits; compare the versions"):
        check(worst, same)
    dense = SimpleNamespace(histogram=lambda: {"FULLY_CONNECTED": 1})
    monkeypatch.setattr(graph, "read", lambda content: dense)
    with pytest.raises(ModelError, match=r"express FULLY_CONNECTED, .* by a CONV_2D"):
        check(same, worst)


def test_int8_follows_float_closely() -> None:
    model = Int8Model(ptq())
    probabilities = model.probabilities(model.run(X))
    assert np.abs(probabilities - teacher()).max() < 0.1


def test_divergence_is_zero_for_the_same_and_larger_for_another_model() -> None:
    model = Int8Model(ptq(), reference=False)
    itself = model.probabilities(model.run(X))
    labels = itself.argmax(axis=1)
    near, far = (fidelity(ptq(), X, labels, t) for t in (itself, itself[:, ::-1]))
    assert (near.divergence, near.accuracy) == (0.0, 100.0)
    assert far.divergence > 0.01


def test_the_smallest_arena_works_and_a_step_less_does_not() -> None:
    model = Int8Model(ptq())
    arena = smallest(ptq())
    Micro(ptq(), arena.bytes).run(model.quantized(X[:1]))
    with pytest.raises(MemoryError):
        Micro(ptq(), arena.bytes - 16)
    parts = arena.parts
    assert parts["total"] == parts["activations"] + parts["persistent"]
    # What the recording allocator counts is what is needed, up to alignment.
    assert 0 <= arena.bytes - parts["total"] <= 64


def test_the_graph_counts_macs_and_the_peak_as_by_hand() -> None:
    read = graph.read(ptq())
    assert read.macs() == lightsernet.macs(folded())
    operator, tensors = read.peak()
    # Two pooled paths (30×20×4) wait while the third at full resolution (59×40×4) is pooled.
    assert operator.name == "AVERAGE_POOL_2D"
    assert sorted(t.bytes for t in tensors) == [2400, 2400, 2400, 9440]
    # TFLite Micro's own planner holds that peak and little more.
    activations = smallest(ptq()).parts["activations"]
    assert 0 <= activations - sum(t.bytes for t in tensors) <= 256
