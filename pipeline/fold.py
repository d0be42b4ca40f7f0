"""Stage 5, fold: batch normalisation goes into the convolutions, and the difference is measured."""

import json

import numpy as np

from pipeline import dataset, params, paths, splits
from pipeline.errors import ModelError, run
from pipeline.models import files
from pipeline.models.folding import classifier_as_convolution, fold
from pipeline.models.inference import predict
from pipeline.outputs import staged

PARAMS = ("fold",)


def main() -> None:
    p = params.select(PARAMS)
    data = dataset.load()
    errors = {}
    with staged(paths.FOLDED, paths.FOLD_ERROR) as (folder, error_file):
        folder.mkdir()
        for part in splits.read():
            model = files.load(paths.model(paths.FLOAT, part.name))
            size = model.count_params()  # with the normalisations; the same in each fold
            folded = classifier_as_convolution(fold(model))
            # All clips of the fold, with the statistics that training left in the normalisations.
            x = data.x[data.rows(part.training_side + part.test)]
            errors[part.name] = float(np.abs(predict(folded, x) - predict(model, x)).max())
            files.save(folded, paths.model(folder, part.name))
            if not errors[part.name] <= p.fold.tolerance:
                raise ModelError(
                    f"folding changes probabilities of fold {part.name} by {errors[part.name]:.1e}, fold.tolerance "
                    f"allows {p.fold.tolerance:.1e}: the variances of some channels are too small to fold"
                )
        worst = max(errors, key=errors.__getitem__)
        report = {"largest": errors[worst], "folds": errors, "params": size}
        error_file.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    print(f"fold: {len(errors)} models, probabilities differ by {errors[worst]:.1e} at most")


if __name__ == "__main__":
    run(main)
