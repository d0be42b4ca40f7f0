"""Light-SERNet (Aftab, Morsali, Ghaemmaghami, Champagne: ICASSP 2022).

Three parallel paths look at time (11×1), frequency (1×9) and both (3×3); their pooled outputs are
concatenated and go through four blocks of convolution and one of 1×1, then a global average.

With `body` set to `separable` each block filters every channel by itself, then mixes them by 1×1, as
MobileNet does (Howard et al., arXiv 1704.04861): a ninth of the weights and multiply-accumulates.

With `members` above 1 so many of these networks stand side by side in one graph and what it says is the
softmax of the mean of their logits, as of an ensemble (Lakshminarayanan et al., NeurIPS 2017). Since a
global average and a dense layer are linear, that mean is one dense layer behind the averages of all.
"""

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from pipeline.models import stem
from pipeline.params import Model

STEM_KERNELS = {"time": (11, 1), "frequency": (1, 9), "both": (3, 3)}
BODY_POOLS = [(2, 2), (2, 2), (2, 1), (2, 1)]
PATHS = "paths"  # of each member, where its three paths meet; what stands before it in the name is its prefix


def build(frames: int, bins: int, classes: int, p: Model, seed: int = 0) -> tf_keras.Model:
    """The network of the paper; 463,431 parameters with the paper's widths and 7 classes.

    Input [shape=(batch, frames, bins, 1)], output probabilities [shape=(batch, classes)]. Layers
    have fixed names and seeds, so that two builds in one process are the same. Those of a member begin
    with its prefix, which is empty where there is one member.
    """
    seeds = iter(range(seed * 100, seed * 100 + 100))  # a separable member takes 12

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

    def member(x, prefix: str):  # type: ignore[no-untyped-def]
        paths = [
            layers.AveragePooling2D(
                tuple(p.stem_pool), padding="same", name=f"{prefix}{name}_pool"
            )(convolution(x, p.stem_filters, kernel, f"{prefix}{name}"))
            for name, kernel in STEM_KERNELS.items()
        ]
        x = layers.Concatenate(name=f"{prefix}{PATHS}")(paths)
        for number, (filters, pool) in enumerate(zip(p.body_filters, BODY_POOLS, strict=True), 1):
            name = f"{prefix}body{number}"
            x = block(x, filters, name)
            x = layers.AveragePooling2D(pool, padding="same", name=f"{name}_pool")(x)
        return convolution(
            x, p.head_filters, (1, 1), f"{prefix}head", use_bias=False, kernel_regularizer=l2
        )

    l2 = tf_keras.regularizers.L2(p.l2 / p.members)  # a step takes the mean of the members' losses
    inputs = layers.Input((frames, bins, 1), name="features")
    if p.members == 1:
        x = member(inputs, "")
    else:
        heads = [member(inputs, f"member{number}_") for number in range(1, p.members + 1)]
        x = layers.Concatenate(name="members")(heads)
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
    [shape=(batch, members · head_filters)]. The paths are computed as in stem.py. Each member learns by
    itself: the output has what the first says of the batch, then what the second says, and so on
    [shape=(members · batch, classes)]. The classifier's kernel holds each one's share of the mean, so that a
    step of it counts `members` times for that one, and its bias is theirs in common.
    """
    names = [layer.name for layer in model.layers]
    members = [name.removesuffix(PATHS) for name in names if name.endswith(PATHS)]
    features = layers.Input(model.input_shape[1:], name="features")
    paths = [f"{prefix}{name}" for prefix in members for name in STEM_KERNELS]
    x = stem.of(model, paths)(features)
    heads = []
    for prefix, y in zip(members, _parted(x, len(members)), strict=True):
        after = slice(names.index(f"{prefix}{PATHS}") + 1, names.index("head_pool"))
        for layer in model.layers[after]:
            if layer.name.startswith(prefix):
                y = layer(y)
        heads.append(y)
    averages = model.get_layer("head_pool")(_joined(heads, axis=-1))
    mask = layers.Input(averages.shape[1:], name="mask")
    masked = layers.Multiply(name="masked")([averages, mask])
    said = [model.get_layer("emotion")(own) for own in _each_alone(masked, len(members))]
    return tf_keras.Model([features, mask], _joined(said, axis=0))


# A network of one member is trained by the same operators, and so to the same bits, as before there were more.
def _parted(x: tf.Tensor, parts: int) -> list[tf.Tensor]:
    """Equal shares of the channels."""
    return [x] if parts == 1 else tf.split(x, parts, axis=-1)


def _joined(tensors: list[tf.Tensor], axis: int) -> tf.Tensor:
    return tensors[0] if len(tensors) == 1 else tf.concat(tensors, axis)


def _each_alone(averages: tf.Tensor, members: int) -> list[tf.Tensor]:
    """What the dense layer has to read [shape=(batch, members · head_filters)] to say a member's logits alone.

    With the others' averages at 0 and its own times their number, the mean of all is its own.
    """
    if members == 1:
        return [averages]
    shares = members * np.repeat(np.eye(members), averages.shape[-1] // members, axis=1)
    return [averages * tf.constant(share, averages.dtype) for share in shares]


def dropout_mask(clips: int, p: Model, rng: np.random.Generator) -> np.ndarray:
    """What dropout multiplies the averages by [shape=(clips, members · head_filters)], 1 in the mean."""
    kept = rng.random((clips, p.members * p.head_filters)) >= p.dropout
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
