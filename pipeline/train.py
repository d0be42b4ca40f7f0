"""Stage 4, train: one float model per fold, and one on all speakers, which is the one to deploy."""

import statistics
from collections.abc import Iterator
from functools import partial

import pandas as pd

from pipeline import dataset, params, paths, splits
from pipeline.dataset import Dataset
from pipeline.errors import run
from pipeline.models import files, folds, lightsernet
from pipeline.models.folds import Job
from pipeline.models.training import Outcome, Recipe
from pipeline.outputs import staged
from pipeline.progress import Progress
from pipeline.splits import Fold

PARAMS = ("sample_rate", "seed", "features", "model", "train", "augment")


def paper_protocol(data: Dataset, fold: Fold, outcome: Outcome) -> pd.DataFrame:
    """What the best epoch on the test fold says of the test clips: the paper's protocol."""
    assert outcome.paper_probabilities is not None
    rows = data.rows(fold.test)
    return pd.DataFrame(
        {
            "clip": fold.test,
            "fold": fold.name,
            "epoch": outcome.paper_epoch,
            "actual": [data.labels[label] for label in data.y[rows]],
            "predicted": [data.labels[k] for k in outcome.paper_probabilities.argmax(axis=1)],
        }
    )


def mean_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Means over the folds by epoch, as far as all of them went: `patience` ends some earlier."""
    folds = curves[curves["fold"] != splits.FINAL]
    shortest = folds.groupby("fold")["epoch"].max().min()
    means = folds[folds["epoch"] <= shortest].groupby("epoch")
    return means[["train_loss", "train_accuracy", "test_accuracy"]].mean()


def sides(fold: Fold) -> folds.Sides:
    """The fold's train, validation and test clips; None for a side without any."""
    data = dataset.load()
    train, validation, test = (
        data.part(clips) for clips in (fold.train, fold.validation, fold.test)
    )
    return train, validation or None, test or None


def train_all(divided: list[Fold], classes: int, recipe: Recipe, seed: int) -> Iterator[Outcome]:
    """The outcome of each fold, in order; the final one trains as long as the others found good."""

    def job(number: int, fold: Fold, epochs: int | None = None) -> Job:
        return Job(f"train: {fold.name}", partial(sides, fold), seed + number, epochs)

    tested = splits.tested(divided)
    jobs = [job(number, fold) for number, fold in enumerate(tested)]
    chosen = [fold.validation != [] for fold in tested]
    if not any(chosen):  # nothing has to be known of the folds first
        yield from folds.train([*jobs, job(len(tested), divided[-1])], classes, recipe)
        return
    epochs = []
    for outcome in folds.train(jobs, classes, recipe):
        epochs.append(outcome.chosen_epoch)
        yield outcome
    last = job(len(tested), divided[-1], round(statistics.median(epochs)))
    yield from folds.train([last], classes, recipe)


def main() -> None:
    p = params.select(PARAMS)
    data = dataset.load()
    divided = splits.read()
    recipe = Recipe(p.sample_rate, p.features, p.model, p.train, p.augment)
    _, frames, bins, _ = data.x.shape
    histories, papers = [], []
    with (
        staged(paths.FLOAT, paths.PAPER_PROTOCOL, paths.LEARNING_CURVES, paths.MEAN_CURVES) as (
            folder,
            paper_file,
            curves_file,
            mean_file,
        ),
        Progress(total=len(divided), name="train", unit="fold") as progress,
    ):
        folder.mkdir()
        outcomes = train_all(divided, len(data.labels), recipe, p.seed)
        for fold, outcome in zip(divided, outcomes, strict=True):
            model = lightsernet.build(frames, bins, len(data.labels), p.model)
            model.set_weights(outcome.weights)
            files.save(model, paths.model(folder, fold.name))
            histories.append(pd.DataFrame(outcome.history).assign(fold=fold.name))
            if fold.test:
                papers.append(paper_protocol(data, fold, outcome))
            progress.update()
            last = outcome.history[outcome.chosen_epoch - 1]
            progress.note(
                f"train: {fold.name}: {len(fold.train)} clips, epoch {outcome.chosen_epoch} of "
                f"{len(outcome.history)} kept, loss {last['train_loss']:.3f}, "
                f"accuracy while it learnt {100 * last['train_accuracy']:.1f} %"
            )
        pd.concat(papers).to_csv(paper_file, index=False)
        curves = pd.concat(histories)
        columns = ["fold", "epoch", *(c for c in curves if c not in ("fold", "epoch"))]
        curves[columns].to_csv(curves_file, index=False, float_format="%.6g")
        mean_curves(curves).to_csv(mean_file, float_format="%.6g")


if __name__ == "__main__":
    run(main)
