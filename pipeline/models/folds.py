"""Training of many folds side by side; what was trained once is not trained again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import joblib

import pipeline
from pipeline import params, workers
from pipeline.audio import spectra
from pipeline.cache import cached, code_version, directory, same_code
from pipeline.dataset import Data
from pipeline.errors import DivergedError
from pipeline.models import augment, inference, lightsernet, losses, schedule, stem, training
from pipeline.models.training import Outcome, Recipe
from pipeline.progress import Progress

# All that a training's outcome follows from, beside its arguments.
PARTS = (
    pipeline, params.Augment, params.Features, augment, inference, lightsernet, losses, schedule, spectra, stem, training,
)  # fmt: skip
CODE = code_version(*PARTS, packages=("tensorflow", "tf_keras", "numpy", "scipy", "librosa"))

Sides = tuple[Data, Data | None, Data | None]


@dataclass(frozen=True)
class Job:
    """One training.

    sides : loads train, validation and test side of a fold, see `training.fit`; called where the
        training runs, so that no more than the folds at work are in memory
    seed : of all that is drawn
    epochs : how many of the schedule's to run; None: all
    """

    name: str
    sides: Callable[[], Sides]
    seed: int
    epochs: int | None = None


def _train(job: Job, classes: int, recipe: Recipe, version: str) -> Outcome:
    """One training, in a worker process, which says now and then how far it is."""
    same_code(CODE, version)
    fit = cached(training.fit, version, ignore=["checkpoint", "on_resume", "on_epoch"])
    arguments = (*job.sides(), classes, recipe, job.seed, job.epochs)
    checkpoint = directory() / version / "checkpoints" / f"{joblib.hash(arguments)}.joblib"
    total = job.epochs or recipe.train.epochs
    with Progress(total=total, name=job.name, unit="epoch", lines=True) as progress:
        try:
            outcome: Outcome = fit(
                *arguments,
                checkpoint=checkpoint,
                on_resume=progress.reach,
                on_epoch=progress.update,
            )
        except DivergedError as error:
            raise DivergedError(f"{job.name}: {error}") from None
    checkpoint.unlink(missing_ok=True)  # now that the outcome is kept
    return outcome


def train(jobs: Sequence[Job], classes: int, recipe: Recipe) -> Iterator[Outcome]:
    """Outcomes in the order of `jobs`, each as soon as it and those before it are there.

    A training whose arguments and code did not change is recalled; one that was interrupted goes on
    from its last checkpoint.
    """
    calls = [(job, classes, recipe, CODE) for job in jobs]
    yield from workers.run(_train, calls, jobs=workers.WITH_TENSORFLOW)
