"""The three paths in a training step, without a pass over their largest tensors.

Before they are pooled, the paths' outputs are the largest tensors of the network. Convolution, batch
normalisation, ReLU and pooling each go through them, forward and back, for a twentieth of the
multiply-accumulates. Two things make that unnecessary:

- The convolutions see one channel, so each output is a weighted sum wᵀp + b of the few samples p
  around it. Over a batch its mean is wᵀμ + b and its variance wᵀCw, with the mean μ and the
  covariance C of p. So the normalisation is known before the convolution and merges into its
  weights, as folding.py merges it with the moving statistics for inference.
- What is left is one matrix product, ReLU and pooling. They are computed clip by clip, within the
  processor's cache, and once more on the way back rather than kept.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers


class Stem(layers.Layer):
    """What the given layers compute together in training; it changes their variables, and has none.

    Moving mean and variance follow the batch's, as in the layers themselves.

    Parameters
    ----------
    convolutions : of one input channel, padding `same`, strides of 1
    normalisations : of their outputs, in the same order
    pool : rows, columns of the averaging after ReLU, padding `same`
    """

    def __init__(
        self,
        convolutions: Sequence[layers.Conv2D],
        normalisations: Sequence[layers.BatchNormalization],
        pool: tuple[int, int],
    ) -> None:
        # Statistics of a batch of bfloat16 would lose the variance in the mean's rounding.
        super().__init__(name="stem", dtype="float32")
        self._convolutions = list(convolutions)
        self._normalisations = list(normalisations)
        self._pool = pool
        seen = [_offsets(layer.kernel_size) for layer in convolutions]
        self._offsets = sorted(set().union(*seen))
        self._places = [  # of each kernel's weights among all offsets
            np.eye(len(self._offsets), dtype=np.float32)[[self._offsets.index(at) for at in kernel]].T
            for kernel in seen
        ]  # fmt: skip

    def call(self, x: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Pooled outputs of all paths [shape=(batch, rows, columns, channels)] of `x`, one channel.

        Whatever `training` says, the statistics are those of the batch: the layers themselves serve
        for inference.
        """
        around = _patches(x, self._offsets)
        kernels = tf.concat(
            [
                place @ tf.reshape(layer.kernel, [place.shape[1], layer.filters])
                for place, layer in zip(self._places, self._convolutions, strict=True)
            ],
            axis=1,
        )
        weights = self._normalised(tf.cast(kernels, tf.float64), around)
        return _relu_pooled(around, weights, x.shape[1:3], self._pool)

    def _normalised(self, kernels: tf.Tensor, around: tf.Tensor) -> tf.Tensor:
        """`kernels` [shape=(offsets, channels)] with the normalisation merged, shifts in a last row."""

        def joined(values: list[tf.Tensor]) -> tf.Tensor:
            return tf.cast(tf.concat(values, axis=0), tf.float64)

        n = tf.cast(tf.shape(around)[0] * tf.shape(around)[2], tf.float64)
        of_clips = tf.matmul(around, around, transpose_b=True)
        moments = tf.reduce_sum(tf.cast(of_clips, tf.float64), axis=0) / n
        mean_around = moments[:-1, -1:]  # around[:, -1] is 1
        covariance = moments[:-1, :-1] - mean_around @ tf.transpose(mean_around)
        bias = joined([layer.bias for layer in self._convolutions])
        mean = tf.reduce_sum(kernels * mean_around, axis=0) + bias
        variance = tf.reduce_sum(kernels * (covariance @ kernels), axis=0)
        self._follow(mean, variance * n / (n - 1))
        epsilon = joined([tf.fill([layer.gamma.shape[0]], layer.epsilon) for layer in self._normalisations])  # fmt: skip
        scale = joined([layer.gamma for layer in self._normalisations]) / tf.sqrt(variance + epsilon)  # fmt: skip
        # The bias goes out with the mean; it stays in the sum so that it has a gradient, which is 0.
        shift = joined([layer.beta for layer in self._normalisations]) + (bias - mean) * scale
        return tf.cast(tf.concat([kernels * scale, shift[tf.newaxis]], axis=0), tf.float32)

    def _follow(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Move the layers' moving statistics towards those of the batch."""
        sizes = [layer.filters for layer in self._convolutions]
        for layer, of_mean, of_variance in zip(
            self._normalisations, tf.split(mean, sizes), tf.split(variance, sizes), strict=True
        ):
            for moving, batch in ((layer.moving_mean, of_mean), (layer.moving_variance, of_variance)):  # fmt: skip
                moving.assign_sub((moving - tf.cast(batch, tf.float32)) * (1 - layer.momentum))


def of(model: tf_keras.Model, paths: Sequence[str]) -> Stem:
    """The stem of a network whose `paths` have these names."""
    return Stem(
        [model.get_layer(f"{name}_conv") for name in paths],
        [model.get_layer(f"{name}_bn") for name in paths],
        model.get_layer(f"{paths[0]}_pool").pool_size,
    )


def _offsets(kernel: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns from an output to the samples that its kernel sees, in the kernel's order."""
    rows, columns = kernel
    return [
        (r - (rows - 1) // 2, c - (columns - 1) // 2) for r in range(rows) for c in range(columns)
    ]


def _patches(x: tf.Tensor, offsets: Sequence[tuple[int, int]]) -> tf.Tensor:
    """Samples of `x` around each position [shape=(batch, offsets + 1, rows · columns)], then ones."""
    _, rows, columns, _ = x.shape
    above, left = (max(-o[axis] for o in offsets) for axis in (0, 1))
    below, right = (max(o[axis] for o in offsets) for axis in (0, 1))
    padded = tf.pad(x[..., 0], [[0, 0], [above, below], [left, right]])
    shifted = [
        padded[:, above + r : above + r + rows, left + c : left + c + columns] for r, c in offsets
    ]
    shifted.append(tf.ones_like(x[..., 0]))
    return tf.stack([tf.reshape(s, [-1, rows * columns]) for s in shifted], axis=1)


def _relu_pooled(
    around: tf.Tensor, weights: tf.Tensor, size: tuple[int, int], pool: tuple[int, int]
) -> tf.Tensor:
    """Pooled ReLU of the products of patches and weights [shape=(batch, rows, columns, channels)].

    Parameters
    ----------
    around : [shape=(batch, k, rows · columns)]; a constant, it gets no gradient
    weights : [shape=(k, channels)]
    size : rows, columns
    pool : rows, columns
    """
    rows, columns = size
    channels = weights.shape[1]
    window = {"ksize": [1, *pool, 1], "strides": [1, *pool, 1], "padding": "SAME"}
    pooled = [-(-n // step) for n, step in zip(size, pool, strict=True)]

    def activations(clip: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.matmul(clip, weights, transpose_a=True))

    def each(clips: tf.Tensor, step: Callable[[tf.Tensor, Any], Any], start: Any) -> Any:
        """`start` after a step for each of so many clips, one by one."""
        return tf.while_loop(
            lambda clip, _: clip < clips,
            lambda clip, so_far: (clip + 1, step(clip, so_far)),
            [0, start],
            parallel_iterations=1,
        )[1]

    @tf.custom_gradient
    def compute(around: tf.Tensor, weights: tf.Tensor) -> Any:
        clips = tf.shape(around)[0]

        def add_output(clip: tf.Tensor, outputs: tf.TensorArray) -> tf.TensorArray:
            y = tf.reshape(activations(around[clip], weights), [1, rows, columns, channels])
            return outputs.write(clip, tf.raw_ops.AvgPool(value=y, **window)[0])

        def gradient(upstream: tf.Tensor) -> tuple[None, tf.Tensor]:
            def add(clip: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
                y = activations(around[clip], weights)
                of_y = tf.raw_ops.AvgPoolGrad(
                    orig_input_shape=[1, rows, columns, channels], grad=upstream[clip][tf.newaxis], **window
                )  # fmt: skip
                of_y = tf.raw_ops.ReluGrad(gradients=tf.reshape(of_y, y.shape), features=y)
                return total + tf.matmul(around[clip], of_y)

            return None, each(clips, add, tf.zeros_like(weights))

        outputs = tf.TensorArray(tf.float32, clips, element_shape=[*pooled, channels])
        return each(clips, add_output, outputs).stack(), gradient

    return compute(around, weights)
