"""The paths of a training step against the layers that they stand for."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from pipeline import params
from pipeline.models import lightsernet, stem
from pipeline.models.lightsernet import STEM_KERNELS
from pipeline.models.stem import Stem

PATHS = list(STEM_KERNELS)


def network(pool: tuple[int, int] = (2, 2), size: tuple[int, int] = (21, 17)) -> tf_keras.Model:
    """Small, of odd sizes, with every variable of its paths away from where it starts."""
    tf_keras.backend.clear_session()
    p = params.load(changes={
        "model.stem_filters": 5, "model.stem_pool": list(pool),
        "model.body_filters": [4, 4, 4, 4], "model.head_filters": 6,
    })  # fmt: skip
    model = lightsernet.build(*size, 3, p.model)
    rng = np.random.default_rng(1)
    for path in PATHS:
        for layer in (model.get_layer(f"{path}_conv"), model.get_layer(f"{path}_bn")):
            layer.set_weights([w + rng.uniform(0.05, 0.5, w.shape) for w in layer.get_weights()])
    return model


def clips(mean: float = 0.0, size: tuple[int, int] = (21, 17)) -> np.ndarray:
    rng = np.random.default_rng(2)
    return (mean + rng.standard_normal((6, *size, 1))).astype(np.float32)


def by_layers(model: tf_keras.Model) -> tf_keras.Model:
    return tf_keras.Model(model.input, model.get_layer("paths").output)


def step(compute: tf_keras.Model | Stem, model: tf_keras.Model, x: np.ndarray) -> list[np.ndarray]:
    """Output, gradients of the paths' variables, and the moving statistics after one step."""
    layers = [model.get_layer(f"{path}_{kind}") for path in PATHS for kind in ("conv", "bn")]
    variables = [variable for layer in layers for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        y = compute(x, training=True)
        upstream = np.random.default_rng(3).standard_normal(y.shape).astype(np.float32)
        total = tf.reduce_sum(y * upstream)
    moving = [variable for layer in layers for variable in layer.non_trainable_variables]
    return [np.asarray(value) for value in (y, *tape.gradient(total, variables), *moving)]


@pytest.mark.parametrize("pool", [(2, 2), (4, 2), (1, 1), (3, 5)])
def test_outputs_gradients_and_moving_statistics_are_those_of_the_layers(
    pool: tuple[int, int],
) -> None:
    first, second = network(pool), network(pool)
    ours = step(stem.of(first, PATHS), first, clips())
    layers = step(by_layers(second), second, clips())
    assert len(ours) == 1 + 3 * 4 + 3 * 2
    for mine, theirs in zip(ours, layers, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-4)
    # With the statistics that the layers keep from before, the gradients are others.
    kept = network(pool)
    for path in PATHS:
        kept.get_layer(f"{path}_bn").trainable = False
    frozen = step(by_layers(kept), kept, clips())
    kernels = [(ours[1 + 4 * n], frozen[1 + 2 * n]) for n in range(3)]  # gamma, beta are not there
    assert not any(np.allclose(mine, other, atol=1e-2) for mine, other in kernels)


def test_compiled_it_takes_batches_of_any_number_of_clips() -> None:
    model = network()
    compute = tf.function(stem.of(model, PATHS), reduce_retracing=True)
    for count in (6, 5, 1):
        x = clips()[:count]
        expected = by_layers(network())(x, training=True)
        np.testing.assert_allclose(compute(x), expected, rtol=2e-4, atol=2e-4)


def test_the_variance_of_clips_far_from_zero_is_as_exact_as_that_of_the_layers() -> None:
    x = clips(mean=-30.0)
    model = network()
    kernel, bias = (w.astype(np.float64) for w in model.get_layer("frequency_conv").get_weights())
    padded = np.pad(x.astype(np.float64)[..., 0], [(0, 0), (0, 0), (4, 4)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 9, axis=2)
    exact = (windows @ kernel[0, :, 0] + bias).var(axis=(0, 1, 2), ddof=1)

    def error(moved: tf_keras.Model) -> float:
        layer, start = moved.get_layer("frequency_bn"), network().get_layer("frequency_bn")
        before, after = (np.asarray(bn.moving_variance, np.float64) for bn in (start, layer))
        batch = (after - before * layer.momentum) / (1 - layer.momentum)
        return float(np.abs(batch / exact - 1).max())

    ours, layers = network(), network()
    stem.of(ours, PATHS)(x)
    by_layers(layers)(x, training=True)
    assert error(ours) <= max(2 * error(layers), 1e-5)


def test_a_training_step_moves_every_variable_as_the_plain_network_does() -> None:
    x, y = clips(), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    moved = []
    for ours in (True, False):
        model = network()
        model.get_layer("dropout").rate = 0.0
        compute = lightsernet.for_training(model) if ours else model
        mask = np.ones((6, 6), np.float32)
        # Plain descent: Adam's steps depend on the sign of gradients that are zero but for rounding.
        compute.compile(tf_keras.optimizers.SGD(0.1), "categorical_crossentropy")
        for _ in range(3):
            compute.train_on_batch([x, mask] if ours else x, y)
        moved.append(model.get_weights())
    start = network().get_weights()
    for mine, theirs in zip(*moved, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
    assert sum(not np.allclose(a, b, atol=1e-3) for a, b in zip(moved[0], start, strict=True)) > 30


def test_with_bfloat16_the_paths_are_computed_in_float32() -> None:
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = network()
        ours = stem.of(model, PATHS)(clips())
        trained = lightsernet.for_training(model)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_allclose(ours, by_layers(network())(clips(), training=True), rtol=2e-4, atol=2e-4)  # fmt: skip
    assert trained.get_layer("body1_conv").compute_dtype == "bfloat16"
