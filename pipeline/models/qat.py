"""Quantization-aware fine-tuning of a folded network, with tensorflow-model-optimization.

Where fake quantizers stand decides the operators of the flatbuffer. tfmot's defaults put one behind
every layer; each average pool and each input of the concatenation then has a scale of its own, and
the converter bridges them with QUANTIZE operators (seven in Light-SERNet). Here a tensor has a
quantizer only where eight bits need a new scale: a pool keeps the scale of its input, and the
branches that a concatenation reads take the concatenation's.

tfmot's default layout transforms are left out for a second reason: the one for "convolution, then
ReLU" takes every quantizer from the convolution, that of its kernel included, so that a network
without batch normalisation would be fine-tuned with float weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_scheme,
    default_8bit_quantizers,
    default_8bit_transforms,
)
from tensorflow_model_optimization.python.core.quantization.keras.graph_transformations import (
    model_transformer,
)
from tf_keras import layers

from pipeline.dataset import Data
from pipeline.errors import ModelError
from pipeline.models.inference import BATCH, deterministic
from pipeline.models.topology import consumers
from pipeline.params import Quantize

_quantizers = tfmot.quantization.keras.quantizers

# Layers whose output is on the scale of their input.
_KEEP_SCALE = (layers.AveragePooling2D, layers.Dropout, layers.Flatten)


class _Nothing(tfmot.quantization.keras.QuantizeConfig):
    """No fake quantizer at all."""

    def get_weights_and_quantizers(self, layer):  # type: ignore[no-untyped-def]
        return []

    def get_activations_and_quantizers(self, layer):  # type: ignore[no-untyped-def]
        return []

    def set_quantize_weights(self, layer, quantize_weights):  # type: ignore[no-untyped-def]
        pass

    def set_quantize_activations(self, layer, quantize_activations):  # type: ignore[no-untyped-def]
        pass

    def get_output_quantizers(self, layer):  # type: ignore[no-untyped-def]
        return []

    def get_config(self) -> dict[str, object]:
        return {}


class KeepScale(_Nothing):
    """For pools, dropout, and branches of a concatenation: the scale is set elsewhere."""


class OwnScale(_Nothing):
    """For activations, averages and concatenations: the output gets a range of its own."""

    def get_output_quantizers(self, layer):  # type: ignore[no-untyped-def]
        return [
            _quantizers.MovingAverageQuantizer(
                num_bits=8, per_axis=False, symmetric=False, narrow_range=False
            )
        ]


class KernelOnly(_Nothing):
    """For convolutions before an activation: eight bits per output channel, the output is the activation's."""

    def get_weights_and_quantizers(self, layer):  # type: ignore[no-untyped-def]
        # Per channel, symmetric, without −128, as TFLite's int8 kernels want them.
        return [(layer.kernel, default_8bit_quantizers.Default8BitConvWeightsQuantizer())]

    def set_quantize_weights(self, layer, quantize_weights):  # type: ignore[no-untyped-def]
        (layer.kernel,) = quantize_weights


class KernelAndScale(KernelOnly, OwnScale):
    """For the last convolution: its outputs are the logits."""


class _PerChannel(default_8bit_quantizers.Default8BitConvWeightsQuantizer):
    """For kernels of depthwise convolutions [shape=(rows, columns, channels, 1)], whose channels stand last but one."""

    def build(self, tensor_shape, name, layer):  # type: ignore[no-untyped-def]
        *size, channels, each = tensor_shape
        return super().build(tf.TensorShape([*size, each, channels]), name, layer)

    def __call__(self, inputs, training, weights, **kwargs):  # type: ignore[no-untyped-def]
        last = [0, 1, 3, 2]
        quantized = super().__call__(tf.transpose(inputs, last), training, weights, **kwargs)
        return tf.transpose(quantized, last)


class DepthwiseOnly(_Nothing):
    """As KernelOnly, for depthwise convolutions."""

    def get_weights_and_quantizers(self, layer):  # type: ignore[no-untyped-def]
        return [(layer.depthwise_kernel, _PerChannel())]

    def set_quantize_weights(self, layer, quantize_weights):  # type: ignore[no-untyped-def]
        (layer.depthwise_kernel,) = quantize_weights


class _OnlyInput:
    """The one layout transform that is wanted: a quantizer behind the input."""

    def apply(self, model, layer_quantize_map):  # type: ignore[no-untyped-def]
        return model_transformer.ModelTransformer(
            model,
            [default_8bit_transforms.InputLayerQuantize()],
            set(layer_quantize_map),
            layer_quantize_map,
        ).transform()


class _Scheme(default_8bit_quantize_scheme.Default8BitQuantizeScheme):
    def get_layout_transformer(self) -> _OnlyInput:
        return _OnlyInput()


CONFIGS = {
    config.__name__: config
    for config in (KeepScale, OwnScale, KernelOnly, KernelAndScale, DepthwiseOnly)
}


def _reaches_concatenation(layer: layers.Layer, read_by: dict[str, list[layers.Layer]]) -> bool:
    """Whether the layer's output, through layers that keep its scale, is read by a concatenation."""
    for consumer in read_by[layer.name]:
        if isinstance(consumer, layers.Concatenate):
            return True
        if isinstance(consumer, _KEEP_SCALE) and _reaches_concatenation(consumer, read_by):
            return True
    return False


def plan(model: tf_keras.Model) -> dict[str, tfmot.quantization.keras.QuantizeConfig]:
    """Which quantize config each layer gets, by name.

    Raises
    ------
    ModelError
        The graph has a layer that this plan does not know, or normalisation that is not folded.
    """
    read_by = consumers(model)
    chosen: dict[str, tfmot.quantization.keras.QuantizeConfig] = {}
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer):
            continue
        activated = [type(follower) for follower in read_by[layer.name]] == [layers.ReLU]
        if isinstance(layer, layers.Conv2D):
            chosen[layer.name] = KernelOnly() if activated else KernelAndScale()
        elif isinstance(layer, layers.DepthwiseConv2D) and activated:
            chosen[layer.name] = DepthwiseOnly()
        elif isinstance(layer, (*_KEEP_SCALE, layers.Activation)):
            # The softmax at the end has the fixed scale of probabilities.
            chosen[layer.name] = KeepScale()
        elif isinstance(layer, layers.ReLU):
            shared = _reaches_concatenation(layer, read_by)
            chosen[layer.name] = KeepScale() if shared else OwnScale()
        elif isinstance(layer, layers.Concatenate | layers.GlobalAveragePooling2D):
            chosen[layer.name] = OwnScale()
        else:
            raise ModelError(
                f"no quantization is known for layer {layer.name} ({type(layer).__name__})"
            )
    return chosen


def annotate(model: tf_keras.Model) -> tf_keras.Model:
    """The model with fake quantizers, from its own weights.

    Dropout is switched off: it would have the eight-bit model learn a function of its own.
    """
    configs = plan(model)

    def wrap(layer: layers.Layer) -> layers.Layer:
        if isinstance(layer, layers.Dropout):
            layer = layers.Dropout(0.0, name=layer.name)
        if layer.name not in configs:
            return layer
        return tfmot.quantization.keras.quantize_annotate_layer(layer, configs[layer.name])

    annotated = tf_keras.models.clone_model(model, clone_function=wrap)
    with scope():
        quantized = tfmot.quantization.keras.quantize_apply(annotated, scheme=_Scheme())
    return quantized


def calibrate(quantized: tf_keras.Model, folded: tf_keras.Model, x: np.ndarray) -> None:
    """Start the ranges of `quantized` at what the float model's tensors take on `x`.

    tfmot starts them at plus or minus 6 and moves them by a thousandth a step, which is far from
    the data for longer than a short fine-tuning lasts.

    Parameters
    ----------
    x : np.ndarray [shape=(clips, frames, bins, 1)]
    """
    names = [name for name, config in plan(folded).items() if isinstance(config, OwnScale)]
    observed = tf_keras.Model(folded.inputs, [folded.get_layer(name).output for name in names])
    low = dict.fromkeys(names, 0.0)  # a range holds zero
    high = dict(low)
    for start in range(0, len(x), BATCH):
        tensors = observed.predict_on_batch(x[start : start + BATCH])
        for name, tensor in zip(names, tensors, strict=True):
            low[name] = min(low[name], float(tensor.min()))
            high[name] = max(high[name], float(tensor.max()))
    for name in names:
        for variable in quantized.get_layer(f"quant_{name}").non_trainable_variables:
            kind = variable.name.rpartition("/")[2].partition(":")[0]
            if kind == "output_min":
                variable.assign(low[name])
            elif kind == "output_max":
                variable.assign(high[name])


def scope():  # type: ignore[no-untyped-def]
    """The scope in which a saved model with fake quantizers can be loaded."""
    return tfmot.quantization.keras.quantize_scope(CONFIGS)


@dataclass(frozen=True)
class Tuned:
    """Weights of the annotated model after fine-tuning, and the loss of each epoch."""

    weights: list[np.ndarray]
    loss: list[float]


def fine_tune(
    folded_config: str,
    folded_weights: list[np.ndarray],
    train: Data,
    teacher: np.ndarray,
    classes: int,
    p: Quantize,
    seed: int,
    on_epoch: Callable[[], object],
) -> Tuned:
    """Fine-tune for eight bits.

    The target is a mixture of the labels and of the float model's own probabilities (`p.distill`
    is the weight of the latter): what is wanted is the same function in eight bits, not a new one.

    Parameters
    ----------
    folded_config, folded_weights : the folded model as JSON, and its weights
    train : the training side of the fold
    teacher : the folded model's probabilities [shape=(clips, classes)]
    seed : of shuffling
    on_epoch : called after each epoch
    """
    deterministic(seed)
    folded = tf_keras.models.model_from_json(folded_config)
    folded.set_weights(folded_weights)
    model = annotate(folded)
    calibrate(model, folded, train.x)
    model.compile(
        tf_keras.optimizers.Adam(p.learning_rate), tf_keras.losses.CategoricalCrossentropy()
    )
    labels = np.eye(classes, dtype=np.float32)[train.y]
    target = p.distill * teacher + (1 - p.distill) * labels
    loss = model.fit(
        train.x,
        target,
        batch_size=p.batch_size,
        epochs=p.epochs,
        shuffle=True,
        verbose=0,
        callbacks=[tf_keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: on_epoch())],
    ).history["loss"]
    return Tuned(model.get_weights(), [float(value) for value in loss])


def rebuild(folded: tf_keras.Model, weights: list[np.ndarray]) -> tf_keras.Model:
    """The fine-tuned model from the folded one and `Tuned.weights`."""
    tf_keras.backend.clear_session()
    model = annotate(folded)
    model.set_weights(weights)
    return model
