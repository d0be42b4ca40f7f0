"""Stage 8, evaluate: every test clip once, and the memory that the model takes on the board."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline import dataset, params, paths, splits
from pipeline.dataset import Dataset
from pipeline.errors import BudgetError, ModelError, run
from pipeline.mcu import accuracy, boards, budget, equality, stream, variants
from pipeline.mcu.accuracy import Models
from pipeline.mcu.arena import Micro
from pipeline.mcu.budget import Budget
from pipeline.mcu.front_end import Chain
from pipeline.mcu.runtimes import Disagreement, disagreement
from pipeline.mcu.variants import Surroundings, Variants
from pipeline.models import files
from pipeline.models.training import predict
from pipeline.outputs import staged
from pipeline.reporting import plots, scores
from pipeline.splits import Fold
from pipeline.tflite import gate, graph
from pipeline.tflite.int8 import Int8Model

PARAMS = ("input_len", "sample_rate", "features", "evaluate")
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


def classify_all(data: Dataset, tested: list[Fold], conversion: dict[str, Any]) -> pd.DataFrame:
    """What each fold's models say of its test clips: a row per clip of the corpus."""
    return pd.concat(
        [
            classify(data, fold, conversion[fold.name]["ships"])
            for fold in tqdm(tested, desc="evaluate", unit="fold", disable=None)
        ],
        ignore_index=True,
    )


def score(predictions: pd.DataFrame, paper: pd.DataFrame, labels: list[str]) -> dict[str, Any]:
    """Scores of every model, and of the paper's protocol under its own name."""
    detail = {name: scores.detail(predictions, f"predicted_{name}", labels) for name in MODELS}
    speaker = predictions.set_index("clip")["speaker"]
    by_paper = paper.assign(speaker=paper["clip"].map(speaker))
    detail["paper_protocol"] = scores.detail(by_paper, "predicted", labels)
    return detail


def check_runtimes(
    data: Dataset, folds: list[Fold], measured: Variants, clips: int
) -> dict[str, Disagreement]:
    """Hold TFLite Micro against LiteRT's reference kernels, on `clips` clips of each fold.

    Raises
    ------
    ModelError
        They differ in a bit, so that the scores would not be the device's.
    """
    found = {}
    for fold in tqdm(folds, desc="same bits", unit="fold", disable=None):
        final = fold.name == splits.FINAL
        content = (paths.TFLITE / fold.name / "model.tflite").read_bytes()
        rows = data.rows(fold.train if final else fold.test)[:clips]
        arena = measured.deployed.plain.arena.bytes
        # Models of folds differ in which channels share a shift, which is a few bytes.
        found[fold.name] = disagreement(content, data.x[rows], arena if final else 2 * arena)
    worst = largest(found)
    if worst != Disagreement(0, 0):
        raise ModelError(
            f"TFLite Micro and LiteRT's reference kernels differ by up to {worst.outputs} steps in outputs and "
            f"{worst.inner_tensors} in inner tensors, expected the same bits; compare the versions of tflite-micro and ai-edge-litert"
        )
    return found


def largest(found: dict[str, Disagreement]) -> Disagreement:
    return Disagreement(
        max(each.outputs for each in found.values()),
        max(each.inner_tensors for each in found.values()),
    )


def check_variants(content: bytes, measured: Variants, x: np.ndarray) -> dict[str, Any]:
    """Hold the tiled model and the model in parts against the plain one, on clips `x`.

    Raises
    ------
    ModelError
        One of them differs in a bit.
    """
    checked: dict[str, Any] = {"clips": len(x)}
    if measured.tiled:
        arena = measured.tiled.costs.arena.bytes
        tiled = equality.difference(content, measured.tiled.content, x, arena)
        checked["tiled"] = asdict(tiled)
        if tiled.largest:
            raise ModelError(f"the tiled model differs from the plain one: {tiled}")
    if measured.streamed:
        in_parts = stream.compare(content, measured.streamed, Int8Model(content).quantized(x))
        checked["streaming"] = asdict(in_parts)
        if in_parts.outputs or in_parts.rows:
            raise ModelError(f"the model in parts differs from the plain one: {in_parts}")
    return checked


def metrics_of(
    detail: dict[str, Any], counts: dict[str, Any], model: dict[str, Any], mcu: Budget,
    macs: int, front_ends: dict[str, Any], fold_error: float, difference: Disagreement,
    validation_warnings: int, ships: list[str],
) -> dict[str, Any]:  # fmt: skip
    """What metrics.json holds; its names are relied on outside the project."""
    pooled = {
        name: {
            **{key: detail[name][key] for key in ("ua", "wa", "f1")},
            "ua_low": detail[name]["interval"]["ua"]["low"],
            "ua_high": detail[name]["interval"]["ua"]["high"],
            "ua_folds": detail[name]["mean_over_folds"]["ua"],
            "ua_std": detail[name]["std_over_folds"]["ua"],
        }
        for name in (*MODELS, "paper_protocol")
    }
    return {
        **counts,
        "protocol": "honest: the test fold is seen once, at the end; paper_protocol: best epoch on the test fold",
        **pooled,
        "ships": {kind: ships.count(kind) for kind in ("ptq", "qat")},
        "front_end": {name: of["ua"] for name, of in front_ends.items()},
        "fold_error": fold_error,
        "validation_warnings": validation_warnings,
        "model": model,
        "mcu": {
            "board": mcu.board,
            "variant": mcu.need.variant,
            "fits": mcu.fits,
            "arena_bytes": mcu.need.arena_bytes,
            "arena_limit_bytes": mcu.arena_limit_bytes,
            "ram_bytes": mcu.need.ram_bytes,
            "ram_limit_bytes": mcu.ram_limit_bytes,
            "flash_needed_bytes": mcu.need.flash_bytes,
            "flash_limit_bytes": mcu.flash_limit_bytes,
            "macs": macs,
        },
        "agreement": {
            "tflm_vs_litert_reference": difference.outputs,
            "inner_tensors": difference.inner_tensors,
        },
    }


def write_device(folder: Path, measured: Variants) -> None:
    """The model as it is flashed, and in parts with their plan."""
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(measured.deployed.content)
    if measured.streamed:
        parts = folder / "stream"
        parts.mkdir()
        for number, content in enumerate(measured.streamed.parts):
            (parts / f"part{number}.tflite").write_bytes(content)
        (parts / "head.tflite").write_bytes(measured.streamed.head)
        plan = json.dumps(measured.streamed.plan.to_dict(), indent=2)
        (parts / "plan.json").write_text(plan + "\n", "utf-8")


def main() -> None:
    p = params.select(PARAMS)
    board = boards.get(p.evaluate.board)
    around = Surroundings(p.evaluate, p.features, p.input_len, p.sample_rate)
    data = dataset.load()
    folds = splits.read()
    tested = splits.tested(folds)
    final = next(fold for fold in folds if fold.name == splits.FINAL)
    paper = pd.read_csv(paths.require(paths.PAPER_PROTOCOL), dtype=str, keep_default_na=False)
    conversion = json.loads(paths.require(paths.CONVERSION).read_text("utf-8"))
    validation = json.loads(paths.require(paths.VALIDATION).read_text("utf-8"))["summary"]

    # The model to deploy: what it takes, and the same bits in every form.
    content = paths.MODEL.read_bytes()
    read = graph.read(content)
    known = boards.load()
    least_ram = min(each.ram for each in known.values())
    measured = variants.measure(content, board, around, least_ram)
    gate.check_int8(measured.deployed.content)
    mcu = budget.make(p.evaluate.board, board, measured.need)
    others = [need for need in measured.needs.values() if need != measured.need]
    advice = budget.explain(mcu, read, others, known)
    if advice and p.evaluate.over_budget == "fail":
        print(budget.render(mcu))
        raise BudgetError(advice)
    if mcu.fits:
        Micro(measured.deployed.content, mcu.arena_limit_bytes)  # in what the board leaves for it
    same = check_runtimes(data, folds, measured, p.evaluate.exact_clips)
    same_variants = check_variants(
        content, measured, data.x[data.rows(final.train)[: p.evaluate.exact_clips]]
    )

    predictions = classify_all(data, tested, conversion)
    detail = score(predictions, paper, data.labels)
    front_ends, robustness = {}, {}
    if not around.no_front_end:
        models = Models.of(data, tested)
        chain = Chain("f32", p.evaluate.level)
        front_ends = accuracy.by_front_end(data, models, p.input_len, p.sample_rate, p.features)
        robustness = accuracy.by_condition(
            data, models, chain, p.input_len, p.sample_rate, p.features
        )

    metrics = metrics_of(
        detail,
        counts={
            "corpus": validation["corpus"],
            "clips": len(data.ids),
            "classes": len(data.labels),
            "folds": len(tested),
            "split": validation["split"],
        },
        model={
            "params": files.load(paths.model(paths.FLOAT, splits.FINAL)).count_params(),
            "macs": read.macs(),
            "flash_bytes": len(content),
        },
        mcu=mcu,
        macs=measured.deployed.costs.macs,
        front_ends=front_ends,
        fold_error=json.loads(paths.FOLD_ERROR.read_text("utf-8"))["largest"],
        difference=largest(same),
        validation_warnings=validation["warnings"],
        ships=[conversion[fold.name]["ships"] for fold in tested],
    )
    evaluation = {
        "labels": data.labels,
        "models": detail,
        "front_ends": front_ends,
        "no_front_end": around.no_front_end,
        "robustness": robustness,
        "budget": {**mcu.to_dict(), "advice": advice},
        "variants": measured.to_dict(),
        "arena": measured.deployed.costs.arena.parts,
        "operators": graph.read(measured.deployed.content).histogram(),
        "same_bits": {
            "clips_of_each_fold": p.evaluate.exact_clips,
            "runtimes": {name: asdict(found) for name, found in same.items()},
            "variants": same_variants,
        },
        "final_ships": conversion[splits.FINAL]["ships"],
    }
    deployed = graph.read(measured.deployed.content)
    scored = {name: detail[name]["ua"] for name in ("float", "ptq", "qat")}
    tables = {
        paths.PREDICTIONS: predictions,
        paths.SPEAKERS: plots.by_speaker(predictions, MODELS),
        paths.SIZES: plots.sizes(conversion[splits.FINAL]["bytes"], scored),
        paths.ARENA: plots.arena(deployed, board.ram),
    }
    with staged(paths.METRICS, paths.EVALUATION, paths.DEVICE, *tables) as (
        metrics_file, evaluation_file, device, *table_files,
    ):  # fmt: skip
        metrics_file.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
        evaluation_file.write_text(json.dumps(evaluation, indent=2) + "\n", "utf-8")
        write_device(device, measured)
        for table, file in zip(tables.values(), table_files, strict=True):
            table.to_csv(file, index=False)
    print(
        f"evaluate: UA float {metrics['float']['ua']} %, int8 {metrics['int8']['ua']} %; {mcu.need.variant}, "
        f"arena {mcu.need.arena_bytes:,} bytes, {'fits' if mcu.fits else 'does not fit'} {board.name}"
    )
    if advice:
        print(f"evaluate: over budget: {advice}")


if __name__ == "__main__":
    run(main)
