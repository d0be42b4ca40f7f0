"""Stage 8, evaluate: every test clip once, and the memory that the model takes on the board."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline import dataset, params, paths, splits
from pipeline.dataset import Dataset
from pipeline.errors import BudgetError, ModelError, run
from pipeline.mcu import boards, budget
from pipeline.mcu.arena import Micro, smallest
from pipeline.mcu.budget import Budget
from pipeline.models import files
from pipeline.models.training import predict
from pipeline.outputs import staged
from pipeline.reporting import scores
from pipeline.splits import Fold
from pipeline.tflite import graph
from pipeline.tflite.int8 import Int8Model

PARAMS = ("input_len", "evaluate")
MODELS = ("float", "ptq", "qat", "int8")


def classify(data: Dataset, fold: Fold, ships: str) -> pd.DataFrame:
    """What each model of a fold says of the fold's test clips: one row per clip.

    The eight-bit models run in LiteRT's reference kernels, whose outputs are the device's; `ships`
    names the one that ships, ptq or qat.
    """
    rows = data.rows(fold.test)
    x = data.x[rows]
    folder = paths.TFLITE / fold.name
    said = {"float": predict(files.load(paths.model(paths.FOLDED, fold.name)), x)}
    for kind in ("ptq", "qat"):
        model = Int8Model((folder / f"{kind}.tflite").read_bytes())
        said[kind] = model.probabilities(model.run(x))
    said["int8"] = said[ships]
    return pd.DataFrame(
        {
            "clip": fold.test,
            "fold": fold.name,
            "speaker": [data.speakers[row] for row in rows],
            "actual": [data.labels[label] for label in data.y[rows]],
            **{
                f"predicted_{name}": [data.labels[k] for k in said[name].argmax(axis=1)]
                for name in MODELS
            },
            **{f"p_{label}": said["int8"][:, k].round(4) for k, label in enumerate(data.labels)},
        }
    )


@dataclass(frozen=True)
class Disagreement:
    """Largest differences, in steps, between TFLite Micro and LiteRT's reference kernels."""

    outputs: int
    inner_tensors: int


def disagreement(content: bytes, x: np.ndarray, arena_bytes: int) -> Disagreement:
    """Compare the two runtimes on clips `x` [shape=(clips, frames, bins, 1)].

    Outputs are compared in an arena of `arena_bytes`. The softmax at the end hides most errors
    before it, so the output of every operator is compared as well, in an arena that keeps them all.
    """
    model = Int8Model(content, keep_tensors=True)
    read = graph.read(content)
    in_arena = Micro(content, arena_bytes)
    ample = 2 * sum(tensor.bytes for tensor in read.tensors) + (1 << 18)
    keeping = Micro(content, ample, keep_tensors=True)
    outputs = inner = 0
    for row in range(len(x)):
        clip = x[row : row + 1]
        said = model.run(clip).astype(int)
        outputs = max(outputs, _largest(in_arena.run(model.quantized(clip)) - said))
        keeping.run(model.quantized(clip))
        for operator in read.operators:
            for number in operator.outputs:
                difference = model.tensor(number).astype(int) - keeping.tensor(number)
                inner = max(inner, _largest(difference))
    return Disagreement(outputs, inner)


def _largest(difference: np.ndarray) -> int:
    return int(np.abs(difference).max())


def score(predictions: pd.DataFrame, paper: pd.DataFrame, labels: list[str]) -> dict[str, Any]:
    """Scores of every model, and of the paper's protocol under its own name."""
    detail = {
        name: scores.detail(
            predictions["actual"], predictions[f"predicted_{name}"], predictions["fold"], labels
        )
        for name in MODELS
    }
    detail["paper_protocol"] = scores.detail(
        paper["actual"], paper["predicted"], paper["fold"], labels
    )
    return detail


def metrics_of(
    detail: dict[str, Any], counts: dict[str, Any], model: dict[str, Any], mcu: Budget,
    fold_error: float, difference: Disagreement, validation_warnings: int, ships: list[str],
) -> dict[str, Any]:  # fmt: skip
    """What metrics.json holds; its names are relied on outside the project."""
    pooled = {
        name: {
            **{key: detail[name][key] for key in ("ua", "wa", "f1")},
            "ua_std": detail[name]["std_over_folds"]["ua"],
        }
        for name in (*MODELS, "paper_protocol")
    }
    return {
        **counts,
        "protocol": "honest: the test fold is seen once, at the end; paper_protocol: best epoch on the test fold",
        **pooled,
        "ships": {kind: ships.count(kind) for kind in ("ptq", "qat")},
        "fold_error": fold_error,
        "validation_warnings": validation_warnings,
        "model": model,
        "mcu": {
            "board": mcu.board,
            "fits": mcu.fits,
            "arena_bytes": mcu.arena_bytes,
            "arena_limit_bytes": mcu.arena_limit_bytes,
            "flash_needed_bytes": mcu.flash_bytes,
            "flash_limit_bytes": mcu.flash_limit_bytes,
        },
        "agreement": {
            "tflm_vs_litert_reference": difference.outputs,
            "inner_tensors": difference.inner_tensors,
        },
    }


def main() -> None:
    p = params.select(PARAMS)
    board = boards.get(p.evaluate.board)
    data = dataset.load()
    folds = splits.read()
    paper = pd.read_csv(paths.require(paths.PAPER_PROTOCOL), dtype=str, keep_default_na=False)
    conversion = json.loads(paths.require(paths.CONVERSION).read_text("utf-8"))
    validation = json.loads(paths.require(paths.VALIDATION).read_text("utf-8"))["summary"]

    # The model to deploy: memory, and the same bits on the device.
    content = paths.MODEL.read_bytes()
    read = graph.read(content)
    final = next(fold for fold in folds if fold.name == splits.FINAL)
    clips = data.rows(final.train)[: p.evaluate.exact_clips]
    arena = smallest(content, Int8Model(content).quantized(data.x[clips[:1]])[0])
    checked = {splits.FINAL: disagreement(content, data.x[clips], arena.bytes)}
    mcu = budget.make(p.evaluate.board, board, arena, len(content), p.evaluate.runtime_flash_bytes)
    if mcu.fits:
        Micro(content, board.ram)  # what the table says, in the board's own memory

    tables = []
    tested = splits.tested(folds)
    for fold in tqdm(tested, desc="evaluate", unit="fold", disable=None):
        tables.append(classify(data, fold, conversion[fold.name]["ships"]))
        of_fold = (paths.TFLITE / fold.name / "model.tflite").read_bytes()
        rows = data.rows(fold.test)[: p.evaluate.exact_clips]
        checked[fold.name] = disagreement(of_fold, data.x[rows], 2 * arena.bytes)
    predictions = pd.concat(tables, ignore_index=True)
    worst = Disagreement(
        max(found.outputs for found in checked.values()),
        max(found.inner_tensors for found in checked.values()),
    )
    if worst != Disagreement(0, 0):
        raise ModelError(
            f"TFLite Micro and LiteRT's reference kernels differ by up to {worst.outputs} steps in outputs and "
            f"{worst.inner_tensors} in inner tensors, expected the same bits; compare the versions of tflite-micro and ai-edge-litert"
        )

    detail = score(predictions, paper, data.labels)
    advice = budget.explain(mcu, arena, read, p.input_len, boards.load())
    if advice and p.evaluate.over_budget == "fail":
        raise BudgetError(advice)
    keras_model = files.load(paths.model(paths.FLOAT, splits.FINAL))
    metrics = metrics_of(
        detail,
        counts={
            "corpus": validation["corpus"],
            "clips": len(data.ids),
            "classes": len(data.labels),
            "folds": len(tested),
        },
        model={
            "params": keras_model.count_params(),
            "macs": read.macs(),
            "flash_bytes": len(content),
        },
        mcu=mcu,
        fold_error=json.loads(paths.FOLD_ERROR.read_text("utf-8"))["largest"],
        difference=worst,
        validation_warnings=validation["warnings"],
        ships=[conversion[fold.name]["ships"] for fold in tested],
    )
    with staged(paths.METRICS, paths.PREDICTIONS, paths.EVALUATION, paths.FOLD_SCORES) as (
        metrics_file, predictions_file, evaluation_file, folds_file,
    ):  # fmt: skip
        metrics_file.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
        predictions.to_csv(predictions_file, index=False)
        evaluation = {
            "labels": data.labels,
            "models": detail,
            "budget": {**mcu.to_dict(), "advice": advice},
            "arena": arena.parts,
            "operators": read.histogram(),
            "exact_on_clips": {
                "each_fold": p.evaluate.exact_clips,
                "difference": {name: asdict(found) for name, found in checked.items()},
            },
            "final_ships": conversion[splits.FINAL]["ships"],
        }
        evaluation_file.write_text(json.dumps(evaluation, indent=2) + "\n", "utf-8")
        pd.DataFrame(
            [
                {
                    "fold": fold.name,
                    **{f"ua_{name}": detail[name]["folds"][fold.name]["ua"] for name in detail},
                }
                for fold in tested
            ]
        ).to_csv(folds_file, index=False)
    print(
        f"evaluate: UA float {metrics['float']['ua']} %, int8 {metrics['int8']['ua']} %; arena "
        f"{mcu.arena_bytes:,} bytes, {'fits' if mcu.fits else 'does not fit'} {board.name}"
    )
    if advice:
        print(f"evaluate: over budget: {advice}")


if __name__ == "__main__":
    run(main)
