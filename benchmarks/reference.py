"""The reference implementation's way of feeding and training: the yardstick of `make bench`.

As its `train.py` does it: tf.data reads the clips one by one and caches them on disk, batches of 32,
one `fit` per fold that looks at the test fold after each epoch. All threads are TensorFlow's own.

    python -m benchmarks.reference FOLDER FOLDS EPOCHS RATE

What the last epoch of each fold says of the clips that it left out goes to FOLDER/answer.json.
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras

BATCH = 32


def dataset(files: list[str], labels: np.ndarray, cache: Path) -> tf.data.Dataset:
    """Batches of clips from `files`, from the second epoch on out of the cache."""

    def read(file: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        clip = tf.numpy_function(lambda name: np.load(name.decode()), [file], tf.float32)
        return tf.ensure_shape(clip, shape), label

    shape = np.load(files[0]).shape

    clips = tf.data.Dataset.from_tensor_slices((files, labels)).map(read, tf.data.AUTOTUNE)
    clips = clips.cache(str(cache)).shuffle(len(files), reshuffle_each_iteration=True)
    return clips.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def main(folder: Path, folds: int, epochs: int, rate: float) -> None:
    """Train on all but one of `folds` parts of the clips in `folder`, each in turn."""
    labels = np.load(folder / "labels.npy")
    files = sorted(str(file) for file in (folder / "clips").iterdir())
    said = np.empty(len(files), int)
    for fold in range(folds):
        tf_keras.backend.clear_session()
        network = tf_keras.models.load_model(folder / "network.h5", compile=False)
        network.compile(tf_keras.optimizers.Adam(rate), "categorical_crossentropy", ["accuracy"])
        out = np.arange(len(files)) % folds == fold
        train, test = (
            dataset([files[n] for n in np.flatnonzero(side)], labels[side], folder / f"cache-{fold}-{name}")
            for name, side in (("train", ~out), ("test", out))
        )  # fmt: skip
        network.fit(train, validation_data=test, epochs=epochs, verbose=0)
        clips = np.stack([np.load(files[n]) for n in np.flatnonzero(out)])
        said[out] = network.predict(clips, verbose=0).argmax(axis=1)
    (folder / "answer.json").write_text(json.dumps(said.tolist()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
