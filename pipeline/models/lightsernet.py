"""Light-SERNet (Aftab, Morsali, Ghaemmaghami, Champagne: ICASSP 2022).

Three parallel paths look at time (11×1), frequency (1×9) and both (3×3); their pooled outputs are
concatenated and go through four blocks of convolution and one of 1×1, then a global average.

With `body` set to `separable` each block filters every channel by itself, then mixes them by 1×1, as
MobileNet does (Howard et al., arXiv 1704.04861): a ninth of the weights and multiply-accumulates.
"""

import numpy as np
import tf_keras
from tf_keras import layers

from pipeline.models import stem
from pipeline.params import Model

STEM_KERNELS = {"time": (11, 1), "frequency": (1, 9), "both": (3, 3)}
BODY_POOLS = [(2, 2), (2, 2), (2, 1), (2, 1)]


def build(frames: int, bins: int, classes: int, p: Model, seed: int = 0) -> tf_keras.Model:
    """The network of the paper; 463,431 parameters with the paper's widths and 7 classes.

    Input [shape=(batch, frames, bins, 1)], output probabilities [shape=(batch, classes)]. Layers
    have fixed names and seeds, so that two builds in one process are the same.
    """
    seeds = iter(range(seed * 100, seed * 100 + 100))

    def initial() -> tf_keras.initializers.Initializer:
        return tf_keras.initializers.GlorotUniform(seed=next(seeds))

    def activated(x, name: str):  # type: ignore[no-untyped-def]
        x = layers.BatchNormalization(momentum=p.bn_momentum, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def convolution(x, filters: int, kernel: tuple[int, int], name: str, **options):  # type: ignore[no-untyped-def]
        x = layers.Conv2D(
            filters, kernel, padding="same", kernel_initializer=initial(), name=f"{name}_conv", **options
        )(x)  # fmt: skip
        return activated(x, name)

    def block(x, filters: int, name: str):  # type: ignore[no-untyped-def]
        kernel = (3, 3)
        if p.body == "separable":
            x = layers.DepthwiseConv2D(
                kernel, padding="same", depthwise_initializer=initial(), use_bias=False, name=f"{name}_filter_conv"
            )(x)  # fmt: skip
            x, kernel = activated(x, f"{name}_filter"), (1, 1)
        return convolution(x, filters, kernel, name, use_bias=False, kernel_regularizer=l2)

    l2 = tf_keras.regularizers.L2(p.l2)
    inputs = layers.Input((frames, bins, 1), name="features")
    paths = [
        layers.AveragePooling2D(tuple(p.stem_pool), padding="same", name=f"{name}_pool")(
            convolution(inputs, p.stem_filters, kernel, name)
        )
        for name, kernel in STEM_KERNELS.items()
    ]
    x = layers.Concatenate(name="paths")(paths)
    for number, (filters, pool) in enumerate(zip(p.body_filters, BODY_POOLS, strict=True), 1):
        name = f"body{number}"
        x = block(x, filters, name)
        x = layers.AveragePooling2D(pool, padding="same", name=f"{name}_pool")(x)
    x = convolution(x, p.head_filters, (1, 1), "head", use_bias=False, kernel_regularizer=l2)
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = layers.Dropout(p.dropout, seed=next(seeds), name="dropout")(x)
    outputs = layers.Dense(
        classes,
        activation="softmax",
        kernel_initializer=initial(),
        # Probabilities stay in full precision when the rest is computed in bfloat16.
        dtype="float32",
        name="emotion",
    )(x)
    return tf_keras.Model(inputs, outputs, name="light_sernet")


def for_training(model: tf_keras.Model) -> tf_keras.Model:
    """`model` as a training step computes it: the variables are the same.

    A second input takes the place of dropout, whose random state cannot be put into a checkpoint
    [shape=(batch, head_filters)]. The paths are computed as in stem.py.
    """
    x = features = layers.Input(model.input_shape[1:], name="features")
    x = stem.of(model, list(STEM_KERNELS))(x)
    names = [layer.name for layer in model.layers]
    for layer in model.layers[names.index("paths") + 1 : names.index("dropout")]:
        x = layer(x)
    mask = layers.Input(x.shape[1:], name="mask")
    masked = layers.Multiply(name="masked")([x, mask])
    return tf_keras.Model([features, mask], model.get_layer("emotion")(masked))


def dropout_mask(clips: int, p: Model, rng: np.random.Generator) -> np.ndarray:
    """What dropout multiplies the averages by [shape=(clips, head_filters)], 1 in the mean."""
    kept = rng.random((clips, p.head_filters)) >= p.dropout
    return (kept / (1 - p.dropout)).astype(np.float32)


def macs(model: tf_keras.Model) -> int:
    """Multiply-accumulates of one inference: convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
            _, rows, columns, filters = layer.output_shape
            kernel_rows, kernel_columns = layer.kernel_size
            seen = layer.input_shape[-1] if isinstance(layer, layers.Conv2D) else 1  # channels
            total += rows * columns * filters * kernel_rows * kernel_columns * seen
        elif isinstance(layer, layers.Dense):
            total += layer.input_shape[-1] * layer.units
    return total
