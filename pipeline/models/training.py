"""Training one network on one fold."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import mixed_precision

from pipeline.models import lightsernet, losses
from pipeline.models.schedule import learning_rate
from pipeline.params import Model, Train

EVALUATION_BATCH = 128


@dataclass(frozen=True)
class Data:
    """Clips of one side of a fold: `x` [shape=(clips, frames, bins, 1)], `y` class numbers."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Outcome:
    """What training leaves.

    weights : of the chosen epoch: the last one, or the best one on the validation side
    chosen_epoch : counted from 1
    history : one dict per epoch: epoch, learning_rate, train_loss, train_accuracy, and where
        there are such sides validation_accuracy and test_accuracy
    paper_epoch, paper_probabilities : the paper's protocol: the epoch with the best accuracy on
        the test side, and its probabilities there [shape=(clips, classes)]. Nothing honest may
        read them; None without a test side.
    """

    weights: list[np.ndarray]
    chosen_epoch: int
    history: list[dict[str, float]]
    paper_epoch: int | None
    paper_probabilities: np.ndarray | None


def deterministic(seed: int) -> None:
    """The same seed gives the same bits, on one machine, whatever ran before in this process."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def predict(model: tf_keras.Model, x: np.ndarray) -> np.ndarray:
    """Probabilities [shape=(clips, classes)] of `x` [shape=(clips, frames, bins, 1)]."""
    return model.predict(x, batch_size=EVALUATION_BATCH, verbose=0)


class _Watcher(tf_keras.callbacks.Callback):
    """Looks at a side of the fold after each epoch; it writes only into itself and the log."""

    def __init__(self, name: str, side: Data) -> None:
        super().__init__()
        self.name, self.side = name, side
        self.best_accuracy = -1.0
        self.best_epoch = 0
        self.best_probabilities: np.ndarray | None = None
        self.best_weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        probabilities = predict(self.model, self.side.x)
        accuracy = float(np.mean(probabilities.argmax(axis=1) == self.side.y))
        if logs is not None:
            logs[f"{self.name}_accuracy"] = accuracy
        if accuracy > self.best_accuracy:
            self.best_accuracy, self.best_epoch = accuracy, epoch + 1
            self.best_probabilities = probabilities
            self.best_weights = self.model.get_weights()


def fit(
    train: Data,
    validation: Data | None,
    test: Data | None,
    classes: int,
    model_params: Model,
    p: Train,
    seed: int,
    version: str,
    on_epoch: Callable[[], object],
) -> Outcome:
    """Train a network on one fold.

    The test side is looked at after each epoch for the paper's protocol alone: it changes neither
    the weights nor which of them are kept.

    Parameters
    ----------
    train, validation, test : the sides of the fold; without validation the last epoch is kept
    classes : how many
    seed : of initial weights, shuffling and dropout
    version : stands for the code, for whoever keeps the result
    on_epoch : called after each epoch
    """
    deterministic(seed)
    _, frames, bins, _ = train.x.shape
    mixed_precision.set_global_policy("mixed_bfloat16" if p.precision == "bfloat16" else "float32")
    try:
        model = lightsernet.build(frames, bins, classes, model_params, seed)
    finally:
        mixed_precision.set_global_policy("float32")
    model.compile(tf_keras.optimizers.Adam(p.learning_rate), losses.make(p), metrics=["accuracy"])
    watchers = [
        _Watcher(name, side)
        for name, side in (("validation", validation), ("test", test))
        if side is not None and len(side)
    ]
    history = model.fit(
        train.x,
        np.eye(classes, dtype=np.float32)[train.y],
        batch_size=p.batch_size,
        epochs=p.epochs,
        shuffle=True,
        verbose=0,
        callbacks=[
            tf_keras.callbacks.LearningRateScheduler(lambda epoch: learning_rate(epoch, p)),
            *watchers,
            tf_keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: on_epoch()),
        ],
    ).history
    watched = {watcher.name: watcher for watcher in watchers}
    chosen = watched.get("validation")
    paper = watched.get("test")
    names = {"loss": "train_loss", "accuracy": "train_accuracy", "lr": "learning_rate"}
    return Outcome(
        weights=chosen.best_weights if chosen else model.get_weights(),
        chosen_epoch=chosen.best_epoch if chosen else p.epochs,
        history=[
            {"epoch": epoch + 1, **{names.get(k, k): float(v[epoch]) for k, v in history.items()}}
            for epoch in range(p.epochs)
        ],
        paper_epoch=paper.best_epoch if paper else None,
        paper_probabilities=paper.best_probabilities if paper else None,
    )
