"""Training one network on one fold, going on from where an interrupted run had got to."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import mixed_precision

from pipeline.dataset import Data
from pipeline.errors import DivergedError
from pipeline.models import augment, lightsernet, losses
from pipeline.models.inference import deterministic, predict
from pipeline.models.schedule import learning_rate
from pipeline.params import Augment, Features, Model, Train

CHECKPOINT_SECONDS = 20.0  # an interruption costs about this much training at most


@dataclass(frozen=True)
class Recipe:
    """The sections of params.yaml that say how to train."""

    sample_rate: int
    features: Features
    model: Model
    train: Train
    augment: Augment

    @property
    def hop(self) -> float:
        """Seconds from one frame to the next."""
        return self.features.hop_length / self.sample_rate


@dataclass(frozen=True)
class Outcome:
    """What training leaves.

    weights : of the chosen epoch: the last one, or the best one on the validation side
    chosen_epoch : counted from 1
    history : one dict per epoch: epoch, learning_rate, train_loss, train_accuracy, and where
        there are such sides validation_accuracy and test_accuracy. While it learns each member is
        scored by itself: of these, train_loss and train_accuracy are means
    paper_epoch, paper_probabilities : the paper's protocol: the epoch with the best accuracy on
        the test side, and its probabilities there [shape=(clips, classes)]. Nothing honest may
        read them; None without a test side.
    """

    weights: list[np.ndarray]
    chosen_epoch: int
    history: list[dict[str, float]]
    paper_epoch: int | None
    paper_probabilities: np.ndarray | None


@dataclass
class _Best:
    """The epoch with the best accuracy on one side of the fold."""

    accuracy: float = -1.0
    epoch: int = 0
    weights: list[np.ndarray] = field(default_factory=list)
    probabilities: np.ndarray | None = None


@dataclass
class _Progress:
    """All that the rest of a training depends on.

    weights : those that training moves
    kept : those that would ship if it ended now; the mean of the last epochs where that is asked for
    optimizer : its variables, in order
    """

    weights: list[np.ndarray]
    kept: list[np.ndarray]
    optimizer: list[np.ndarray] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, _Best] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        return len(self.history)


class _Step:
    """A network with what trains it: the graph of a step, its optimizer and metrics."""

    def __init__(self, frames: int, bins: int, classes: int, recipe: Recipe) -> None:
        p = recipe.train
        mixed_precision.set_global_policy("mixed_bfloat16" if p.precision == "bfloat16" else "float32")  # fmt: skip
        try:
            self.network = lightsernet.build(frames, bins, classes, recipe.model)
            self.trained = lightsernet.for_training(self.network)
        finally:
            mixed_precision.set_global_policy("float32")
        self.optimizer = tf_keras.optimizers.AdamW(p.learning_rate, weight_decay=p.weight_decay)
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self.trained.compile(self.optimizer, losses.make(p), metrics=["accuracy"])
        self.optimizer.build(self.trained.trainable_variables)
        self._start = [variable.numpy() for variable in self.optimizer.variables]
        # Keras makes the metrics' variables when they are first used; in a graph, which is then traced twice.
        none = tf.zeros([1, classes])
        self.trained.compute_loss(y=none, y_pred=none)
        self.trained.compute_metrics(None, none, none, None)
        self.run = self._compiled(p.class_weights, recipe.model.members)

    def _compiled(self, weighted: bool, members: int) -> tf.types.experimental.PolymorphicFunction:
        """A step on a batch of any size: inputs, labels, and weights where classes have some.

        Each member learns from all of the batch; loss and metrics are means over members.

        Keras's `train_on_batch` would trace it once more for the smaller batch at the end of an epoch.
        """
        kinds = [*self.trained.inputs, self.trained.output]
        batch = [tf.TensorSpec(kind.shape, tf.float32) for kind in kinds]
        if weighted:
            batch.append(tf.TensorSpec([None], tf.float32))

        def step(
            x: tf.Tensor, mask: tf.Tensor, y: tf.Tensor, *weights: tf.Tensor
        ) -> dict[str, tf.Tensor]:
            if members > 1:
                y, *weights = [tf.concat([each] * members, axis=0) for each in (y, *weights)]  # type: ignore[assignment]
            said: dict[str, tf.Tensor] = self.trained.train_step(([x, mask], y, *weights))
            return said

        return tf.function(step, input_signature=batch)

    def set_optimizer(self, values: list[np.ndarray]) -> None:
        """Its variables, in order; none at all: as at the start of a training."""
        for variable, value in zip(self.optimizer.variables, values or self._start, strict=True):
            variable.assign(value)


_steps: dict[str, _Step] = {}  # by what it was built for; one at most


def _step(frames: int, bins: int, classes: int, recipe: Recipe) -> _Step:
    """The last one if it fits: to build and trace one takes as long as an epoch or two."""
    key = joblib.hash((frames, bins, classes, recipe.model, recipe.train))
    if key not in _steps:
        _steps.clear()
        _steps[key] = _Step(frames, bins, classes, recipe)
    return _steps[key]


class _Training:
    """A network on its way through the epochs of one fold; one at a time in a process.

    What is drawn in an epoch (the order of the clips, augmentation, dropout) follows from the seed
    and the epoch's number alone: `progress` is all that another process needs to go on.
    """

    def __init__(
        self, data: Data, sides: dict[str, Data], classes: int, recipe: Recipe, seed: int
    ) -> None:
        self._data, self._sides, self._recipe, self._seed = data, sides, recipe, seed
        deterministic(seed)
        _, frames, bins, _ = data.x.shape
        self._step = _step(frames, bins, classes, recipe)
        self._labels = np.eye(classes, dtype=np.float32)[data.y]
        counts = np.bincount(data.y, minlength=classes)
        self._class_weights = len(data) / (classes * np.maximum(counts, 1))
        start = lightsernet.build(frames, bins, classes, recipe.model, seed).get_weights()
        self.resume(_Progress(start, start, best={name: _Best() for name in sides}))

    def resume(self, progress: _Progress) -> None:
        """Go on from what this or another process had reached."""
        self.progress = progress
        self._step.set_optimizer(progress.optimizer)

    def over(self, epochs: int) -> bool:
        """Whether all `epochs` are done, or the validation side has waited `patience` long."""
        progress, patience = self.progress, self._recipe.train.patience
        if progress.epochs >= epochs:
            return True
        if patience is None or "validation" not in self._sides:
            return False
        return progress.epochs - progress.best["validation"].epoch >= patience

    def epoch(self) -> None:
        """Once more through the clips, then a look at the other sides."""
        network, optimizer = self._step.network, self._step.optimizer
        network.set_weights(self.progress.weights)
        row = self._learn()
        self.progress.weights = network.get_weights()
        self.progress.optimizer = [variable.numpy() for variable in optimizer.variables]
        self._average()
        network.set_weights(self.progress.kept)
        for name, side in self._sides.items():
            probabilities = predict(network, side.x)
            accuracy = row[f"{name}_accuracy"] = float(np.mean(probabilities.argmax(axis=1) == side.y))  # fmt: skip
            if accuracy > self.progress.best[name].accuracy:
                self.progress.best[name] = _Best(accuracy, int(row["epoch"]), self.progress.kept, probabilities)  # fmt: skip
        self.progress.history.append(row)

    def _learn(self) -> dict[str, float]:
        """Steps through all clips, in an order of their own and augmented anew."""
        recipe, p, done = self._recipe, self._recipe.train, self.progress.epochs
        step = self._step
        rng = np.random.default_rng((self._seed, done))
        order = rng.permutation(len(self._data))
        x, y = augment.clips(
            self._data.x[order],
            self._labels[order],
            recipe.augment,
            recipe.features,
            recipe.hop,
            rng,
        )
        mask = lightsernet.dropout_mask(len(x), recipe.model, rng)
        inputs = [x, mask, y]
        if p.class_weights:
            inputs.append((y @ self._class_weights).astype(np.float32))
        step.trained.reset_metrics()
        for start in range(0, len(x), p.batch_size):
            batch = slice(start, start + p.batch_size)
            step.optimizer.learning_rate.assign(learning_rate(done + start / len(x), p))
            said = step.run(*(values[batch] for values in inputs))
        loss = float(said["loss"])
        if not np.isfinite(loss):
            raise DivergedError(
                f"the loss of epoch {done + 1} is {loss}, expected a number: lower train.learning_rate"
            )
        return {
            "epoch": done + 1,
            "learning_rate": learning_rate(done, p),
            "train_loss": loss,
            "train_accuracy": float(said["accuracy"]),
        }

    def _average(self) -> None:
        """Stochastic weight averaging (Izmailov et al., UAI 2018), batch statistics included."""
        p, progress = self._recipe.train, self.progress
        number = (
            progress.epochs + 1 - (p.epochs - p.averaged_epochs)
        )  # of this epoch among those averaged
        progress.kept = progress.weights if number <= 1 else [
            mean + (weight - mean) / number
            for mean, weight in zip(progress.kept, progress.weights, strict=True)
        ]  # fmt: skip


class _Checkpoint:
    """A file that holds the progress of one training, whole or not at all."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._written = time.monotonic()

    def load(self) -> _Progress | None:
        if self._file is None:
            return None
        try:
            progress: _Progress = joblib.load(self._file)
        except (
            FileNotFoundError
        ):  # never made, or taken away by a run beside this that has ended the fold
            return None
        return progress

    def save_if_due(self, progress: _Progress) -> None:
        if self._file is None or time.monotonic() - self._written < CHECKPOINT_SECONDS:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(f".{os.getpid()}.partial")
        try:
            joblib.dump(progress, partial)
            partial.replace(self._file)
        finally:
            partial.unlink(missing_ok=True)
        self._written = time.monotonic()


def fit(
    train: Data,
    validation: Data | None,
    test: Data | None,
    classes: int,
    recipe: Recipe,
    seed: int,
    epochs: int | None = None,
    checkpoint: Path | None = None,
    on_resume: Callable[[int], object] = lambda done: None,
    on_epoch: Callable[[], object] = lambda: None,
) -> Outcome:
    """Train a network on one fold.

    The test side is looked at after each epoch for the paper's protocol alone: it changes neither
    the weights nor which of them are kept.

    Parameters
    ----------
    train, validation, test : the sides of the fold; without validation the last epoch is kept
    classes : how many
    seed : of initial weights, shuffling, augmentation and dropout
    epochs : how many of the schedule's `train.epochs` to run; None: all
    checkpoint : file that keeps the progress, and from which it goes on; the caller's to remove; None:
        nothing is kept
    on_resume : called where an interrupted training goes on, with how many epochs it has behind it
    on_epoch : called after each epoch

    Raises
    ------
    DivergedError
        The loss is not finite.
    """
    sides = {
        name: side
        for name, side in (("validation", validation), ("test", test))
        if side is not None and len(side)
    }
    training = _Training(train, sides, classes, recipe, seed)
    kept = _Checkpoint(checkpoint)
    if (reached := kept.load()) is not None:
        training.resume(reached)
        on_resume(reached.epochs)
    while not training.over(epochs or recipe.train.epochs):
        training.epoch()
        on_epoch()
        kept.save_if_due(training.progress)
    progress = training.progress
    chosen, paper = progress.best.get("validation"), progress.best.get("test")
    return Outcome(
        weights=chosen.weights if chosen else progress.kept,
        chosen_epoch=chosen.epoch if chosen else progress.epochs,
        history=progress.history,
        paper_epoch=paper.epoch if paper else None,
        paper_probabilities=paper.probabilities if paper else None,
    )
