"""Stage 6, quantize: each folded model is fine-tuned for eight bits on its own training side."""

import pandas as pd
from tqdm import tqdm

from pipeline import dataset, params, paths, splits
from pipeline.cache import cached, code_version
from pipeline.errors import run
from pipeline.models import files, qat, training
from pipeline.models.qat import Tuned
from pipeline.models.training import Data, predict
from pipeline.outputs import staged

PARAMS = ("seed", "quantize")


def main() -> None:
    p = params.select(PARAMS)
    data = dataset.load()
    folds = splits.read()
    fine_tune = cached(qat.fine_tune, ignore=["on_epoch"])
    version = code_version(
        qat, training, packages=("tensorflow", "tf_keras", "tensorflow-model-optimization")
    )
    losses = []
    with (
        staged(paths.QAT, paths.QUANTIZE_CURVES) as (folder, curves_file),
        tqdm(total=len(folds) * p.quantize.epochs, desc="quantize", unit="epoch", disable=None) as bar,
    ):  # fmt: skip
        folder.mkdir()
        for number, fold in enumerate(folds):
            folded = files.load(paths.model(paths.FOLDED, fold.name))
            rows = data.rows(fold.train)
            train = Data(data.x[rows], data.y[rows])
            tuned: Tuned = fine_tune(
                folded.to_json(), folded.get_weights(), train, predict(folded, train.x),
                len(data.labels), p.quantize,
                seed=p.seed + number, version=version, on_epoch=bar.update,
            )  # fmt: skip
            bar.update((number + 1) * p.quantize.epochs - bar.n)
            files.save(qat.rebuild(folded, tuned.weights), paths.model(folder, fold.name))
            losses += [
                {"fold": fold.name, "epoch": epoch, "train_loss": loss}
                for epoch, loss in enumerate(tuned.loss, 1)
            ]
            tqdm.write(f"quantize: {fold.name}: {len(train)} clips, loss {tuned.loss[-1]:.3f}")
        pd.DataFrame(losses).to_csv(curves_file, index=False, float_format="%.6g")


if __name__ == "__main__":
    run(main)
