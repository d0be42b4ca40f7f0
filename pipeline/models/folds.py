"""Training of many folds side by side; what was trained once is not trained again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pipeline
from pipeline import workers
from pipeline.audio import spectra
from pipeline.cache import cached, code_version, directory
from pipeline.dataset import Data
from pipeline.models import augment, inference, lightsernet, losses, schedule, stem, training
from pipeline.models.training import Outcome, Recipe
from pipeline.progress import Progress


@dataclass(frozen=True)
class Job:
    """One training.

    train, validation, test : the sides of a fold, see `training.fit`
    seed : of all that is drawn
    epochs : how many of the schedule's to run; None: all
    """

    name: str
    train: Data
    validation: Data | None
    test: Data | None
    seed: int
    epochs: int | None = None


def _train(job: Job, classes: int, recipe: Recipe, version: str) -> Outcome:
    """One training, in a worker process, which says now and then how far it is."""

    def on_epoch(done: int) -> None:
        if done > progress.n + 1:  # it goes on where an interrupted one had got to
            progress.reach(done)
        else:
            progress.update()

    fit = cached(training.fit, ignore=["checkpoints", "on_epoch"])
    total = job.epochs or recipe.train.epochs
    with Progress(total=total, name=job.name, unit="epoch", lines=True) as progress:
        outcome: Outcome = fit(
            job.train, job.validation, job.test, classes, recipe, job.seed, version, job.epochs,
            checkpoints=directory() / "checkpoints", on_epoch=on_epoch,
        )  # fmt: skip
    return outcome


def train(jobs: Sequence[Job], classes: int, recipe: Recipe) -> Iterator[Outcome]:
    """Outcomes in the order of `jobs`, each as soon as it and those before it are there.

    A training whose arguments and code did not change is recalled; one that was interrupted goes on
    from its last checkpoint.
    """
    version = code_version(
        pipeline, augment, inference, lightsernet, losses, schedule, spectra, stem, training,
        packages=("tensorflow", "tf_keras", "numpy", "scipy", "librosa"),
    )  # fmt: skip
    calls = [(job, classes, recipe, version) for job in jobs]
    yield from workers.run(_train, calls, jobs=workers.WITH_TENSORFLOW)
