"""Stage 4, train: one float model per fold, and one on all speakers, which is the one to deploy."""

import statistics

import pandas as pd
from tqdm import tqdm

from pipeline import dataset, params, paths, splits
from pipeline.cache import cached, code_version
from pipeline.dataset import Dataset
from pipeline.errors import run
from pipeline.models import files, lightsernet, losses, schedule, training
from pipeline.models.training import Data, Outcome
from pipeline.outputs import staged
from pipeline.splits import Fold

PARAMS = ("seed", "model", "train")


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


def main() -> None:
    p = params.select(PARAMS)
    data = dataset.load()
    folds = splits.read()
    # A fold that an interrupted run had finished is not trained again.
    fit = cached(training.fit, ignore=["on_epoch"])
    version = code_version(
        training, lightsernet, losses, schedule, packages=("tensorflow", "tf_keras")
    )
    _, frames, bins, _ = data.x.shape
    histories, papers = [], []
    chosen_epochs: list[int] = []
    with (
        staged(paths.FLOAT, paths.PAPER_PROTOCOL, paths.LEARNING_CURVES, paths.MEAN_CURVES) as (
            folder,
            paper_file,
            curves_file,
            mean_file,
        ),
        tqdm(total=len(folds) * p.train.epochs, desc="train", unit="epoch", disable=None) as bar,
    ):
        folder.mkdir()
        for number, fold in enumerate(folds):
            train, validation, test = (
                Data(data.x[rows], data.y[rows]) if len(rows) else None for rows in data.sides(fold)
            )
            settings = p.train
            if validation is None and chosen_epochs:
                # The final model trains on all speakers, for as long as the folds found good.
                epochs = round(statistics.median(chosen_epochs))
                settings = p.train.model_copy(update={"epochs": epochs})
            outcome: Outcome = fit(
                train, validation, test, len(data.labels), p.model, settings,
                seed=p.seed + number, version=version, on_epoch=bar.update,
            )  # fmt: skip
            bar.update((number + 1) * p.train.epochs - bar.n)
            if validation is not None:
                chosen_epochs.append(outcome.chosen_epoch)
            model = lightsernet.build(frames, bins, len(data.labels), p.model)
            model.set_weights(outcome.weights)
            files.save(model, paths.model(folder, fold.name))
            histories.append(pd.DataFrame(outcome.history).assign(fold=fold.name))
            if fold.test:
                papers.append(paper_protocol(data, fold, outcome))
            last = outcome.history[outcome.chosen_epoch - 1]
            tqdm.write(
                f"train: {fold.name}: {len(fold.train)} clips, epoch {outcome.chosen_epoch} of "
                f"{settings.epochs} kept, loss {last['train_loss']:.3f}, "
                f"accuracy on the training side {100 * last['train_accuracy']:.1f} %"
            )
        pd.concat(papers).to_csv(paper_file, index=False)
        curves = pd.concat(histories)
        columns = ["fold", "epoch", *(c for c in curves if c not in ("fold", "epoch"))]
        curves[columns].to_csv(curves_file, index=False, float_format="%.6g")
        means = curves[curves["fold"] != splits.FINAL].groupby("epoch")
        means[["train_loss", "train_accuracy", "test_accuracy"]].mean().to_csv(
            mean_file, float_format="%.6g"
        )


if __name__ == "__main__":
    run(main)
