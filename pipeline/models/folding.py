"""Batch normalisation folded into the convolution before it.

The paper's equations: w_fold = γ·W/√(σ²+ε), b_fold = γ·(b−μ)/√(σ²+ε) + β. What is folded is found in
the graph (a batch normalisation whose input is the output of a linear convolution or dense layer
that nothing else reads), not by layers' names.
"""

from typing import Any

import numpy as np
import tf_keras
from tf_keras import layers

from pipeline.errors import ModelError

# The axis of the kernel along which the output channels lie.
_FOLDABLE = (layers.Conv2D, layers.Dense)


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


def _producers(model: tf_keras.Model) -> dict[str, list[layers.Layer]]:
    """For each layer the layers whose outputs it reads, in the order of its inputs."""
    producers: dict[str, list[layers.Layer]] = {}
    for layer in model.layers:
        nodes = layer.inbound_nodes
        if len(nodes) != 1:
            raise ModelError(
                f"layer {layer.name} is used {len(nodes)} times, folding handles graphs that use each layer once"
            )
        parents = nodes[0].parent_nodes
        producers[layer.name] = [parent.layer for parent in parents]
    return producers


def _normalised_by(
    model: tf_keras.Model, producers: dict[str, list[layers.Layer]]
) -> dict[str, layers.BatchNormalization]:
    """The batch normalisation that each convolution takes in, by the convolution's name."""
    consumers = {layer.name: 0 for layer in model.layers}
    for parents in producers.values():
        for parent in parents:
            consumers[parent.name] += 1
    takes_in = {}
    for layer in model.layers:
        if not isinstance(layer, layers.BatchNormalization):
            continue
        (before,) = producers[layer.name]
        # A depthwise kernel has its channels on another axis.
        plain = isinstance(before, _FOLDABLE) and not isinstance(before, layers.DepthwiseConv2D)
        if not plain or before.activation is not tf_keras.activations.linear:
            raise ModelError(
                f"batch normalisation {layer.name} follows {before.name} ({type(before).__name__}), "
                "expected a linear convolution or dense layer"
            )
        if consumers[before.name] > 1:
            raise ModelError(
                f"the output of {before.name} is also read without {layer.name}, so that they cannot become one layer"
            )
        takes_in[before.name] = layer
    return takes_in


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
    producers = _producers(model)
    takes_in = _normalised_by(model, producers)
    tensors: dict[str, Any] = {}
    weights: dict[str, list[np.ndarray]] = {}
    for layer in model.layers:
        inputs = [tensors[parent.name] for parent in producers[layer.name]]
        if isinstance(layer, layers.InputLayer):
            tensors[layer.name] = layers.Input(
                layer.input_shape[0][1:], dtype=layer.dtype, name=layer.name
            )
            continue
        if isinstance(layer, layers.BatchNormalization):
            tensors[layer.name] = inputs[0]
            continue
        config = layer.get_config()
        weights[layer.name] = layer.get_weights()
        if layer.name in takes_in:
            bn = takes_in[layer.name]
            kernel = weights[layer.name][0]
            channels = kernel.shape[-1]
            bias = weights[layer.name][1] if layer.use_bias else np.zeros(channels, np.float32)
            gamma = bn.gamma.numpy() if bn.scale else np.ones(channels, np.float32)
            beta = bn.beta.numpy() if bn.center else np.zeros(channels, np.float32)
            weights[layer.name] = list(
                fold_weights(
                    kernel, bias, gamma, beta,
                    bn.moving_mean.numpy(), bn.moving_variance.numpy(), bn.epsilon,
                )
            )  # fmt: skip
            config["use_bias"] = True
        new = type(layer).from_config(config)
        tensors[layer.name] = new(inputs if len(inputs) > 1 else inputs[0])
    folded = tf_keras.Model(
        [tensors[name] for name in model.input_names],
        [tensors[name] for name in model.output_names],
        name=f"{model.name}_folded",
    )
    for layer in folded.layers:
        if layer.name in weights:
            layer.set_weights(weights[layer.name])
    return folded
