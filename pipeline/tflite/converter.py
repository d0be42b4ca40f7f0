"""Keras models to flatbuffers."""

import warnings
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from pipeline.native import stderr_captured
from pipeline.tflite.operators import check_int8


def _convert(converter: tf.lite.TFLiteConverter) -> bytes:
    with warnings.catch_warnings(), stderr_captured():
        # Said of every conversion to int8 with int8 input: about a setting of the old converter.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs were expected")
        content: bytes = converter.convert()
    return content


def to_float(model: tf_keras.Model) -> bytes:
    """32-bit floats."""
    return _convert(tf.lite.TFLiteConverter.from_keras_model(model))


def to_float16(model: tf_keras.Model) -> bytes:
    """Weights as 16-bit floats, which is the file the paper's size is of."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return _convert(converter)


def to_int8(model: tf_keras.Model, representative: np.ndarray | None = None) -> bytes:
    """Eight bits throughout, input and output included.

    Parameters
    ----------
    model : a float model, or one with fake quantizers
    representative : clips [shape=(clips, frames, bins, 1)] that set the ranges of a float model;
        None for a model that brings its own

    Raises
    ------
    ModelError
        A tensor stayed in floating point, an operator only moves between scales or is not allowed.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    if representative is not None:
        clips = representative

        def dataset() -> Iterator[list[np.ndarray]]:
            for clip in clips:
                yield [clip[np.newaxis]]

        converter.representative_dataset = dataset
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    content = _convert(converter)
    check_int8(content)
    return content
