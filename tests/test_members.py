"""Networks side by side: together the mean of what they say, and each as good as alone."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from pipeline import params
from pipeline.mcu import arena
from pipeline.models import lightsernet
from pipeline.models.folding import classifier_as_convolution, fold
from pipeline.params import Model
from pipeline.tflite import converter

SIZE, CLASSES = (45, 40), 3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, *SIZE, 1)).astype(np.float32)
Y = np.eye(CLASSES, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]


def widths(members: int, **changes: object) -> Model:
    small = {
        "model.stem_filters": 4, "model.body_filters": [4, 5, 6, 7], "model.head_filters": 8, "model.l2": 0.1,
    }  # fmt: skip
    return params.load(changes=small | {"model.members": members} | changes).model


def together(members: int, **changes: object) -> tf_keras.Model:
    """With batch statistics away from where they start."""
    model = lightsernet.build(*SIZE, CLASSES, widths(members, **changes))
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.set_weights([w + RNG.uniform(0.1, 0.5, w.shape) for w in layer.get_weights()])
    return model


def alone(model: tf_keras.Model, number: int, members: int, **changes: object) -> tf_keras.Model:
    """Member `number` of `model` as a network of its own."""
    single = lightsernet.build(*SIZE, CLASSES, widths(1, **changes))
    for layer in single.layers:
        if layer.get_weights() and layer.name != "emotion":
            member = model.get_layer(f"member{number}_{layer.name}")
            layer.set_weights(member.get_weights())
    kernel, bias = model.get_layer("emotion").get_weights()
    own = np.split(kernel, members)[number - 1]
    single.get_layer("emotion").set_weights([members * own, bias])
    return single


@pytest.mark.parametrize("members", [2, 3])
@pytest.mark.parametrize("body", ["standard", "separable"])
def test_the_output_is_the_softmax_of_the_members_mean_logits(members: int, body: str) -> None:
    model = together(members, **{"model.body": body})
    each = [alone(model, n, members, **{"model.body": body}) for n in range(1, members + 1)]
    logits = np.mean([np.log(one(X)) for one in each], axis=0)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(X), expected, atol=1e-5)
    # One of them says something else.
    assert np.abs(each[0](X) - expected).max() > 1e-3
    assert lightsernet.macs(model) == sum(map(lightsernet.macs, each))


def gradients(model: tf_keras.Model, outputs: tf_keras.Model, *inputs: np.ndarray) -> dict[str, np.ndarray]:  # fmt: skip
    """Of mean cross-entropy and weight penalty, of every trainable variable of `model`, by its name."""
    with tf.GradientTape() as tape:
        said = outputs(inputs if len(inputs) > 1 else inputs[0], training=True)
        y = np.concatenate([Y] * (len(said) // len(Y)))
        loss = tf.reduce_mean(tf_keras.losses.categorical_crossentropy(y, said))
        loss += tf.add_n(model.losses)
    variables = model.trainable_variables
    found = tape.gradient(loss, variables)
    return {v.name: np.asarray(g) for v, g in zip(variables, found, strict=True)}


def test_each_member_learns_as_it_would_alone() -> None:
    changes = {"model.dropout": 0.0}
    model = together(2, **changes)
    mask = np.ones((len(X), 16), np.float32)
    mask[:, 3] = mask[:, 10] = 0  # as dropout may leave some out
    ours = gradients(model, lightsernet.for_training(model), X, mask)
    jointly = gradients(model, model, X)
    for number in (1, 2):
        single = alone(model, number, 2, **changes)
        own = np.split(mask, 2, axis=1)[number - 1]
        expected = gradients(single, lightsernet.for_training(single), X, own)
        trunk = [name for name in expected if not name.startswith("emotion")]
        assert len(trunk) == 3 * 4 + 5 * 3
        for name in trunk:
            mine = ours[f"member{number}_{name}"]
            np.testing.assert_allclose(2 * mine, expected[name], rtol=1e-3, atol=1e-5)
        # The kernel holds half of each one's logits: its gradient is whole.
        share = np.split(ours["emotion/kernel:0"], 2)[number - 1]
        np.testing.assert_allclose(share, expected["emotion/kernel:0"], rtol=1e-3, atol=1e-5)
        # Learning from what they say together, a member leans on the other.
        name = "body1_conv/kernel:0"
        assert not np.allclose(2 * jointly[f"member{number}_{name}"], expected[name], atol=1e-4)


def test_members_start_apart_and_have_dropout_of_their_own() -> None:
    model = lightsernet.build(*SIZE, CLASSES, widths(2))
    one, other = (
        model.get_layer(f"member{number}_body1_conv").get_weights()[0] for number in (1, 2)
    )
    assert not np.allclose(one, other)
    mask = lightsernet.dropout_mask(50, widths(2), np.random.default_rng(0))
    assert mask.shape == (50, 16)
    assert not np.array_equal(mask[:, :8], mask[:, 8:])


def test_a_second_member_costs_flash_and_hardly_any_arena() -> None:
    sizes = {}
    for members in (1, 2):
        model = lightsernet.build(184, 40, 7, widths(members, **{"model.stem_filters": 16}))
        clips = RNG.standard_normal((2, 184, 40, 1)).astype(np.float32)
        content = converter.to_int8(classifier_as_convolution(fold(model)), clips)
        sizes[members] = len(content), arena.smallest(content).bytes
    (flash, whole), (twice, shared) = sizes[1], sizes[2]
    assert 1.5 * flash < twice <= 2 * flash
    assert shared < 1.2 * whole
