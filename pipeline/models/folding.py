"""Batch normalisation folded into the convolution before it.

The paper's equations: w_fold = γ·W/√(σ²+ε), b_fold = γ·(b−μ)/√(σ²+ε) + β. What is folded is found in
the graph (a batch normalisation whose input is the output of a linear convolution or dense layer
that nothing else reads), not by layers' names.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tf_keras
from tf_keras import layers

from pipeline.errors import ModelError
from pipeline.models.topology import consumers, producers

# Exactly these: other kinds that Keras derives from convolutions have other kernels.
_FOLDABLE = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)


def fold_weights(
    kernel: np.ndarray,
    bias: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [shape=(…, channels)] and bias [shape=(channels,)] with the normalisation inside."""
    factor = gamma / np.sqrt(variance + epsilon)
    return kernel * factor, factor * (bias - mean) + beta


def _normalised_by(model: tf_keras.Model) -> dict[str, layers.BatchNormalization]:
    """The batch normalisation that each convolution takes in, by the convolution's name."""
    made_from, read_by = producers(model), consumers(model)
    takes_in = {}
    for layer in model.layers:
        if not isinstance(layer, layers.BatchNormalization):
            continue
        (before,) = made_from[layer.name]
        if type(before) not in _FOLDABLE or before.activation is not tf_keras.activations.linear:
            raise ModelError(
                f"batch normalisation {layer.name} follows {before.name} ({type(before).__name__}), "
                "expected a linear convolution or dense layer"
            )
        if len(read_by[before.name]) > 1:
            raise ModelError(
                f"the output of {before.name} is also read without {layer.name}, so that they cannot become one layer"
            )
        takes_in[before.name] = layer
    return takes_in


Replacement = Callable[[layers.Layer], "list[tuple[layers.Layer, list[np.ndarray]]] | None"]


def _rebuild(model: tf_keras.Model, replace: Replacement) -> tf_keras.Model:
    """A new model of new layers.

    `replace` gives for a layer the layers that stand in its place, with their weights; none at all
    for a layer that falls away, None for one that stays as it is.
    """
    made_from = producers(model)
    tensors: dict[str, Any] = {}
    weights: list[tuple[layers.Layer, list[np.ndarray]]] = []
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer):
            tensors[layer.name] = layers.Input(
                layer.input_shape[0][1:], dtype=layer.dtype, name=layer.name
            )
            continue
        inputs = [tensors[parent.name] for parent in made_from[layer.name]]
        tensor = inputs if len(inputs) > 1 else inputs[0]
        stand_ins = replace(layer)
        if stand_ins is None:
            stand_ins = [(type(layer).from_config(layer.get_config()), layer.get_weights())]
        for new, values in stand_ins:
            tensor = new(tensor)
            weights.append((new, values))
        tensors[layer.name] = tensor
    built = tf_keras.Model(
        [tensors[name] for name in model.input_names],
        [tensors[name] for name in model.output_names],
        name=model.name,
    )
    for new, values in weights:
        new.set_weights(values)
    return built


def fold(model: tf_keras.Model) -> tf_keras.Model:
    """The same function without batch normalisation.

    Parameters
    ----------
    model : a functional model that uses each layer once

    Returns
    -------
    A new model of new layers; `model` stays as it is.

    Raises
    ------
    ModelError
        A batch normalisation stands where it cannot be folded.
    """
    takes_in = _normalised_by(model)

    def replace(layer: layers.Layer) -> list[tuple[layers.Layer, list[np.ndarray]]] | None:
        if isinstance(layer, layers.BatchNormalization):
            return []
        if layer.name not in takes_in:
            return None
        bn = takes_in[layer.name]
        kernel, *rest = layer.get_weights()
        shape = kernel.shape
        if isinstance(layer, layers.DepthwiseConv2D):  # its output channels are the last two axes
            kernel = kernel.reshape(*shape[:2], -1)
        channels = kernel.shape[-1]
        kernel, bias = fold_weights(
            kernel,
            rest[0] if rest else np.zeros(channels, np.float32),
            bn.gamma.numpy() if bn.scale else np.ones(channels, np.float32),
            bn.beta.numpy() if bn.center else np.zeros(channels, np.float32),
            bn.moving_mean.numpy(),
            bn.moving_variance.numpy(),
            bn.epsilon,
        )
        merged = type(layer).from_config({**layer.get_config(), "use_bias": True})
        return [(merged, [kernel.reshape(shape), bias])]

    return _rebuild(model, replace)


def classifier_as_convolution(model: tf_keras.Model) -> tf_keras.Model:
    """The same function with the dense softmax layer as a convolution of 1×1.

    TFLite Micro rounds the output of FULLY_CONNECTED twice, LiteRT's reference kernel once, and one
    logit in a thousand differs by a step; both round CONV_2D alike. A dense layer behind a global
    average is such a convolution, with the same weights and the same MACs.

    Raises
    ------
    ModelError
        A dense layer stands elsewhere than between a global average and the output.
    """
    made_from = producers(model)
    averages = set()
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            (before,) = made_from[layer.name]
            while isinstance(before, layers.Dropout):
                (before,) = made_from[before.name]
            if not isinstance(before, layers.GlobalAveragePooling2D):
                raise ModelError(
                    f"dense layer {layer.name} does not follow a global average, it cannot be a convolution of 1×1"
                )
            averages.add(before.name)

    def replace(layer: layers.Layer) -> list[tuple[layers.Layer, list[np.ndarray]]] | None:
        if layer.name in averages:
            return [(layers.GlobalAveragePooling2D(keepdims=True, name=layer.name), [])]
        if not isinstance(layer, layers.Dense):
            return None
        kernel, *bias = layer.get_weights()
        convolution = layers.Conv2D(
            layer.units, (1, 1), use_bias=layer.use_bias, name=layer.name, dtype=layer.dtype
        )
        return [
            (convolution, [kernel[np.newaxis, np.newaxis], *bias]),
            (layers.Flatten(name=f"{layer.name}_logits"), []),
            (layers.Activation(layer.activation, name=f"{layer.name}_activation"), []),
        ]

    return _rebuild(model, replace)
