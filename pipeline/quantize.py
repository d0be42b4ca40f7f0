"""Stage 6, quantize: each folded model is fine-tuned for eight bits on the clips it was trained on."""

import pandas as pd

from pipeline import params, paths, splits
from pipeline.errors import run
from pipeline.models import files, fine_tuning, qat
from pipeline.outputs import staged
from pipeline.progress import Progress

PARAMS = ("seed", "quantize")


def main() -> None:
    p = params.select(PARAMS)
    folds = splits.read()
    all_tuned = fine_tuning.tune(folds, p.quantize, p.seed)
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
