"""Stage 7, convert: flatbuffers, and for each fold the choice of the int8 model that ships."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import dataset, params, paths, splits, workers
from pipeline.dataset import Dataset
from pipeline.errors import run
from pipeline.models import files, qat
from pipeline.models.inference import predict
from pipeline.outputs import staged
from pipeline.progress import Progress
from pipeline.splits import Fold
from pipeline.tflite import card, converter, graph
from pipeline.tflite.card import Card
from pipeline.tflite.int8 import Int8Model

PARAMS = ("input_len", "sample_rate", "seed", "features", "convert")


@dataclass(frozen=True)
class Fidelity:
    """How an int8 model compares with the float model on the training side of its fold.

    divergence : mean Kullback-Leibler divergence of its probabilities from the float model's, nats
    accuracy : share of clips it classifies rightly, in percent
    """

    divergence: float
    accuracy: float


def fidelity(content: bytes, x: np.ndarray, y: np.ndarray, teacher: np.ndarray) -> Fidelity:
    """Compare an int8 flatbuffer with the float model's probabilities `teacher` on clips `x`, `y`."""
    model = Int8Model(content, reference=False)
    probabilities = model.probabilities(model.run(x))
    # Half a step of the int8 output stands for zero, which has no logarithm.
    floor = model.output_quantization[0] / 2
    p, q = (floored / floored.sum(axis=1, keepdims=True) for floored in (
        np.maximum(teacher, floor), np.maximum(probabilities, floor)
    ))  # fmt: skip
    return Fidelity(
        divergence=round(float(np.mean(np.sum(p * np.log(p / q), axis=1))), 6),
        accuracy=round(100 * float(np.mean(probabilities.argmax(axis=1) == y)), 2),
    )


def representative(data: Dataset, fold: Fold, n: int, seed: int) -> np.ndarray:
    """`n` clips of the fold's training speakers, drawn at random."""
    rows = data.rows(fold.train)
    chosen = np.random.default_rng(seed).permutation(rows)[:n]
    return data.x[np.sort(chosen)]


def convert(fold: Fold, p: Any, folder: Path) -> dict[str, Any]:
    """Write the flatbuffers of one fold into `folder` and say what was written."""
    data = dataset.load()
    folded = files.load(paths.model(paths.FOLDED, fold.name))
    with qat.scope():
        tuned = files.load(paths.model(paths.QAT, fold.name))
    clips = representative(data, fold, p.convert.representative_clips, p.seed)
    contents = {"ptq": converter.to_int8(folded, clips), "qat": converter.to_int8(tuned)}
    side = data.part(fold.training_side)
    teacher = predict(folded, side.x)
    scores = {
        kind: fidelity(content, side.x, side.y, teacher) for kind, content in contents.items()
    }
    ships = min(scores, key=lambda kind: (scores[kind].divergence, kind))
    contents["model"] = contents[ships]
    if fold.name == splits.FINAL:
        contents["float"] = converter.to_float(folded)
        contents["float16"] = converter.to_float16(folded)
    folder.mkdir(parents=True, exist_ok=True)  # made by a worker that died, perhaps
    for name, content in contents.items():
        (folder / f"{name}.tflite").write_bytes(content)
    described = Card(data.labels, p.input_len, p.sample_rate, p.features.model_dump(), ships)
    card.write(described, folder / "model.tflite")
    return {
        "ships": ships,
        "training_side": {kind: asdict(score) for kind, score in scores.items()},
        "bytes": {name: len(content) for name, content in sorted(contents.items())},
        "operators": graph.read(contents["model"]).histogram(),
    }


def main() -> None:
    p = params.select(PARAMS)
    folds = splits.read()[::-1]  # the final one has the most to write
    with staged(paths.TFLITE, paths.CONVERSION) as (folder, report_file):
        calls = [(fold, p, folder / fold.name) for fold in folds]
        reports = workers.run(convert, calls, jobs=workers.WITH_TENSORFLOW)
        done = {}
        with Progress(total=len(folds), name="convert", unit="fold") as progress:
            for fold, report in zip(folds, reports, strict=True):
                done[fold.name] = report
                progress.update()
                progress.note(
                    f"convert: {fold.name}: {report['ships']} ships, {report['bytes']['model']} bytes"
                )
        report_file.write_text(json.dumps(done, indent=2, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    run(main)
