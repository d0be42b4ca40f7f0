"""The two losses of the paper, on probabilities and one-hot (or soft) labels."""

import tensorflow as tf
import tf_keras

from pipeline.params import Train


def make(p: Train) -> tf_keras.losses.Loss:
    """Cross-entropy, or focal loss (Lin et al., ICCV 2017): −Σ y (1 − q)^γ ln q, mean over clips."""
    if p.loss == "cross_entropy":
        return tf_keras.losses.CategoricalCrossentropy(label_smoothing=p.label_smoothing)
    return Focal(p.focal_gamma, p.label_smoothing)


class Focal(tf_keras.losses.Loss):
    """Focal loss; with `gamma` 0 it is cross-entropy.

    label_smoothing : this share of each label is spread evenly over the classes
    """

    def __init__(self, gamma: float, label_smoothing: float = 0.0) -> None:
        super().__init__(name="focal")
        self.gamma, self.label_smoothing = gamma, label_smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        classes = tf.cast(tf.shape(y_true)[-1], y_true.dtype)
        y_true = y_true * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        q = tf.clip_by_value(y_pred, tf_keras.backend.epsilon(), 1.0)
        return -tf.reduce_sum(y_true * tf.pow(1.0 - q, self.gamma) * tf.math.log(q), axis=-1)
