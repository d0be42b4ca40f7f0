"""What training, folding and fine-tuning share: the same bits each time, and probabilities."""

import numpy as np
import tensorflow as tf
import tf_keras

BATCH = 128  # clips; larger ones gain nothing on a processor


def deterministic(seed: int) -> None:
    """The same seed gives the same bits, on one machine, whatever ran before in this process."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def predict(model: tf_keras.Model, x: np.ndarray) -> np.ndarray:
    """Probabilities [shape=(clips, classes)] of `x` [shape=(clips, frames, bins, 1)]."""
    return np.concatenate(
        [model.predict_on_batch(x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
    )
