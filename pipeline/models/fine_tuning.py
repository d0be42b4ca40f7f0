"""Fine-tuning of all folds for eight bits; what was tuned once is not tuned again."""

from collections.abc import Iterator, Sequence

import pipeline
from pipeline import dataset, paths, workers
from pipeline.cache import cached, code_version, same_code
from pipeline.models import files, inference, qat, topology
from pipeline.models.inference import predict
from pipeline.models.qat import Tuned
from pipeline.params import Quantize
from pipeline.progress import Progress
from pipeline.splits import Fold

# All that a fine-tuning's outcome follows from, beside its arguments.
PARTS = (pipeline, qat, inference, topology)
CODE = code_version(
    *PARTS, packages=("tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy")
)


def _tune(fold: Fold, p: Quantize, seed: int, version: str) -> Tuned:
    """One fine-tuning, in a worker process: of a fold's folded model, on the clips it was trained on."""
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


def tune(folds: Sequence[Fold], p: Quantize, seed: int) -> Iterator[Tuned]:
    """What comes of each fold's folded model, in the order of `folds`, as soon as it is there.

    seed : of the first fold; each further one has the next
    """
    calls = [(fold, p, seed + number, CODE) for number, fold in enumerate(folds)]
    yield from workers.run(_tune, calls, jobs=workers.WITH_TENSORFLOW)
