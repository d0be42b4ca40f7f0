"""Models on disk: one HDF5 file per fold, the same bytes for the same model."""

import warnings
from pathlib import Path

import tf_keras

from pipeline import paths


def save(model: tf_keras.Model, file: Path) -> None:
    """Graph and weights. HDF5, since Keras's newer zip format bears the time of saving."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*HDF5 file.*")
        model.save(file, save_format="h5", include_optimizer=False)


def load(file: Path) -> tf_keras.Model:
    """The model in `file`; MissingError where it is not there. Fake quantizers need `qat.scope()`."""
    return tf_keras.models.load_model(paths.require(file), compile=False)
