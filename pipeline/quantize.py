"""Stage 6, quantize: each folded model is fine-tuned for eight bits on the clips it was trained on."""

import pandas as pd

import pipeline
from pipeline import dataset, params, paths, splits, workers
from pipeline.cache import cached, code_version, same_code
from pipeline.errors import run
from pipeline.models import files, inference, qat, topology
from pipeline.models.inference import predict
from pipeline.models.qat import Tuned
from pipeline.outputs import staged
from pipeline.params import Quantize
from pipeline.progress import Progress
from pipeline.splits import Fold

PARAMS = ("seed", "quantize")

# All that a fine-tuning's outcome follows from, beside its arguments.
PARTS = (pipeline, qat, inference, topology)
CODE = code_version(
    *PARTS, packages=("tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy")
)


def tune(fold: Fold, p: Quantize, seed: int, version: str) -> Tuned:
    """Fine-tune the folded model of a fold on its training clips, which are loaded here."""
    same_code(CODE, version)
    data = dataset.load()
    train = data.part(fold.train)
    fine_tune = cached(qat.fine_tune, version, ignore=["on_epoch"])
    folded = files.load(paths.model(paths.FOLDED, fold.name))
    with Progress(
        total=p.epochs, name=f"quantize: {fold.name}", unit="epoch", lines=True
    ) as progress:
        tuned: Tuned = fine_tune(
            folded.to_json(), folded.get_weights(), train, predict(folded, train.x), len(data.labels), p,
            seed=seed, on_epoch=progress.update,
        )  # fmt: skip
    return tuned


def main() -> None:
    p = params.select(PARAMS)
    folds = splits.read()
    calls = [(fold, p.quantize, p.seed + number, CODE) for number, fold in enumerate(folds)]
    all_tuned = workers.run(tune, calls, jobs=workers.WITH_TENSORFLOW)
    losses = []
    with (
        staged(paths.QAT, paths.QUANTIZE_CURVES) as (folder, curves_file),
        Progress(total=len(folds), name="quantize", unit="fold") as progress,
    ):
        folder.mkdir()
        for fold, tuned in zip(folds, all_tuned, strict=True):
            folded = files.load(paths.model(paths.FOLDED, fold.name))
            files.save(qat.rebuild(folded, tuned.weights), paths.model(folder, fold.name))
            losses += [
                {"fold": fold.name, "epoch": epoch, "train_loss": loss}
                for epoch, loss in enumerate(tuned.loss, 1)
            ]
            progress.update()
            progress.note(
                f"quantize: {fold.name}: {len(fold.train)} clips, loss {tuned.loss[-1]:.3f}"
            )
        pd.DataFrame(losses).to_csv(curves_file, index=False, float_format="%.6g")


if __name__ == "__main__":
    run(main)
