"""The network, how it is trained, folded and made ready for eight bits. All of it is tf_keras."""

import logging

from pipeline.native import stderr_captured

# TensorFlow greets with a dozen lines about processors and missing GPUs at import and at its first
# operation, which no setting of its own holds back.
with stderr_captured():
    import tensorflow as tf

    tf.zeros(1)

tf.get_logger().setLevel(logging.ERROR)
