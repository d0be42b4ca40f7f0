"""Stage 8, evaluate: every test clip once, and the memory that the model takes on the board."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tf_keras

from pipeline import dataset, params, paths, splits
from pipeline.dataset import Dataset
from pipeline.errors import ModelError, run
from pipeline.mcu import accuracy, deployment, variants
from pipeline.mcu.accuracy import Models
from pipeline.mcu.deployment import Deployment
from pipeline.mcu.front_end import Chain
from pipeline.mcu.runtimes import Disagreement, disagreement
from pipeline.mcu.variants import Surroundings, Variants
from pipeline.models import files
from pipeline.models.inference import predict
from pipeline.outputs import staged
from pipeline.params import Params
from pipeline.progress import Progress
from pipeline.reporting import plots
from pipeline.scoring import scores
from pipeline.scoring.protocols import PAPERS, SHIPS, protocol
from pipeline.splits import Fold
from pipeline.tflite import graph
from pipeline.tflite.int8 import Int8Model
from pipeline.written import read_json

PARAMS = ("input_len", "sample_rate", "features", "evaluate")
MODELS = ("float", "float16", "ptq", "qat", "int8")


@dataclass(frozen=True)
class Earlier:
    """What earlier stages say of the data and the models.

    paper : what the paper's protocol says of each test clip
    conversion : of each fold, which eight-bit model ships; of the final one, its sizes
    validation, folding : the summary of the one, the report of the other
    """

    paper: pd.DataFrame
    conversion: dict[str, Any]
    validation: dict[str, Any]
    folding: dict[str, Any]

    @classmethod
    def read(cls) -> "Earlier":
        return cls(
            pd.read_csv(paths.require(paths.PAPER_PROTOCOL), dtype=str, keep_default_na=False),
            read_json(paths.CONVERSION),
            read_json(paths.VALIDATION)["summary"],
            read_json(paths.FOLD_ERROR),
        )


def round_to_float16(model: tf_keras.Model) -> None:
    """Give `model` the weights that its float16 file holds; both compute in float32."""
    model.set_weights([w.astype(np.float16).astype(np.float32) for w in model.get_weights()])


def classify(data: Dataset, fold: Fold, ships: str) -> pd.DataFrame:
    """What each model of a fold says of the fold's test clips: one row per clip.

    The eight-bit models run in LiteRT's reference kernels, whose outputs are the device's; `ships`
    names the one that ships, ptq or qat.
    """
    rows = data.rows(fold.test)
    x = data.x[rows]
    folder = paths.TFLITE / fold.name
    folded = files.load(paths.model(paths.FOLDED, fold.name))
    said = {"float": predict(folded, x)}
    round_to_float16(folded)
    said["float16"] = predict(folded, x)
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
            for fold in Progress(tested, name="test clips", unit="fold")
        ],
        ignore_index=True,
    )


def add_papers(predictions: pd.DataFrame, paper: pd.DataFrame) -> None:
    """Put what the paper's protocol says of each clip beside the models' columns."""
    said = predictions["clip"].map(paper.set_index("clip")["predicted"])
    predictions.insert(
        predictions.columns.get_loc("predicted_int8") + 1, f"predicted_{PAPERS}", said
    )


def score(predictions: pd.DataFrame, labels: list[str]) -> dict[str, Any]:
    """Scores of every model, and of the paper's protocol under its own name."""
    return {
        name: scores.detail(predictions, f"predicted_{name}", labels) for name in (*MODELS, PAPERS)
    }


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
    for fold in Progress(folds, name="same bits", unit="fold"):
        final = fold.name == splits.FINAL
        content = (paths.TFLITE / fold.name / "model.tflite").read_bytes()
        rows = data.rows(fold.train if final else fold.test)[:clips]
        arena = measured.deployed.plain.arena.bytes
        # Models of folds differ in which channels share a shift, which is a few bytes.
        found[fold.name] = disagreement(content, data.x[rows], arena if final else 2 * arena)
    worst = largest(found)
    if worst != Disagreement(0, 0):
        advice = "compare the versions of tflite-micro and ai-edge-litert"
        if "FULLY_CONNECTED" in graph.read(content).histogram():
            advice = "express FULLY_CONNECTED, which they round differently, by a CONV_2D"
        raise ModelError(
            f"TFLite Micro and LiteRT's reference kernels differ by up to {worst.outputs} steps in outputs and "
            f"{worst.inner_tensors} in inner tensors, expected the same bits; {advice}"
        )
    return found


def largest(found: dict[str, Disagreement]) -> Disagreement:
    return Disagreement(
        max(each.outputs for each in found.values()),
        max(each.inner_tensors for each in found.values()),
    )


def hear(
    data: Dataset, tested: list[Fold], p: Params, around: Surroundings
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scores behind each of the device's front ends, and under each perturbation of the audio.

    Both are empty where the device has no such features.
    """
    if around.no_front_end:
        return {}, {}
    models = Models.of(data, tested)
    chain = Chain("f32", p.evaluate.level)
    return (
        accuracy.by_front_end(data, models, p.input_len, p.sample_rate, p.features),
        accuracy.by_condition(data, models, chain, p.input_len, p.sample_rate, p.features),
    )


def metrics_of(
    detail: dict[str, Any], counts: dict[str, int], front_ends: dict[str, Any], ships: list[str],
    earlier: Earlier, device: Deployment, difference: Disagreement,
) -> dict[str, Any]:  # fmt: skip
    """What metrics.json holds; its names are relied on outside the project.

    Parameters
    ----------
    detail : scores by model
    counts : of clips, classes and folds
    front_ends : scores by front end
    ships : which eight-bit model does, of each fold
    difference : of the two runtimes, at most
    """
    mcu = device.budget
    pooled = {
        name: {
            **{key: detail[name][key] for key in ("ua", "wa", "f1")},
            **{f"ua_{end}": of for end, of in (detail[name]["interval"]["ua"] or {}).items()},
            "ua_folds": detail[name]["mean_over_folds"]["ua"],
            "ua_std": detail[name]["std_over_folds"]["ua"],
        }
        for name in (*MODELS, PAPERS)
    }
    return {
        "corpus": earlier.validation["corpus"],
        **counts,
        "split": earlier.validation["split"],
        "protocol": "honest: the test fold is seen once, at the end; paper_protocol: best epoch on the test fold",
        **pooled,
        "ships": {kind: ships.count(kind) for kind in ("ptq", "qat")},
        "front_end": {name: of["ua"] for name, of in front_ends.items()},
        "fold_error": earlier.folding["largest"],
        "validation_warnings": earlier.validation["warnings"],
        "model": {
            "params": earlier.folding["params"],
            "macs": device.measured.deployed.plain.macs,
            "flash_bytes": len(device.content),
        },
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
            "macs": device.measured.deployed.costs.macs,
        },
        "agreement": {
            "tflm_vs_litert_reference": difference.outputs,
            "inner_tensors": difference.inner_tensors,
        },
    }


def hashes(plain: bytes, deployed: bytes) -> dict[str, str]:
    """SHA-256 of the model as converted and of the one to flash: `export` knows them by that."""
    return {
        "plain": hashlib.sha256(plain).hexdigest(),
        "deployed": hashlib.sha256(deployed).hexdigest(),
    }


def write(
    metrics: dict[str, Any], evaluation: dict[str, Any], measured: Variants,
    tables: dict[Path, pd.DataFrame],
) -> None:  # fmt: skip
    """All that the stage leaves, or nothing."""
    with staged(paths.METRICS, paths.EVALUATION, paths.DEVICE, *tables) as (
        metrics_file, evaluation_file, device, *table_files,
    ):  # fmt: skip
        metrics_file.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
        evaluation_file.write_text(json.dumps(evaluation, indent=2) + "\n", "utf-8")
        deployment.write(device, measured)
        for table, file in zip(tables.values(), table_files, strict=True):
            table.to_csv(file, index=False)


def main() -> None:
    p = params.select(PARAMS)
    around = Surroundings(p.evaluate, p.features, p.input_len, p.sample_rate)
    data = dataset.load()
    folds = splits.read()
    tested = splits.tested(folds)
    final = next(fold for fold in folds if fold.name == splits.FINAL)
    earlier = Earlier.read()
    conversion = earlier.conversion

    # The model to deploy: what it takes, and the same bits in every form.
    device = deployment.make(paths.MODEL.read_bytes(), p.evaluate, around)
    measured, clips = device.measured, p.evaluate.exact_clips
    same = check_runtimes(data, folds, measured, clips)
    x = data.x[data.rows(final.train)[:clips]]
    same_variants = variants.check(device.content, measured, x)

    predictions = classify_all(data, tested, conversion)
    add_papers(predictions, earlier.paper)
    detail = score(predictions, data.labels)
    front_ends, robustness = hear(data, tested, p, around)
    counts = {"clips": len(data.ids), "classes": len(data.labels), "folds": len(tested)}
    ships = [conversion[fold.name]["ships"] for fold in tested]
    metrics = metrics_of(detail, counts, front_ends, ships, earlier, device, largest(same))
    deployed = graph.read(measured.deployed.content)
    evaluation = {
        "labels": data.labels,
        "models": detail,
        "front_ends": front_ends,
        "no_front_end": around.no_front_end,
        "robustness": robustness,
        "budget": {
            **device.budget.to_dict(),
            "level": p.evaluate.level,
            "advice": device.advice,
        },
        "sha256": hashes(device.content, measured.deployed.content),
        "variants": measured.to_dict(),
        "arena": measured.deployed.costs.arena.parts,
        "operators": deployed.histogram(),
        "same_bits": {
            "clips_of_each_fold": clips,
            "runtimes": {name: asdict(found) for name, found in same.items()},
            "variants": same_variants,
        },
        "final_ships": conversion[splits.FINAL]["ships"],
    }
    scored = {name: detail[name]["ua"] for name in ("float", "float16", "ptq", "qat")}
    tables = {
        paths.PREDICTIONS: predictions,
        paths.SPEAKERS: plots.by_speaker(predictions, MODELS),
        paths.SIZES: plots.sizes(conversion[splits.FINAL]["bytes"], scored),
        paths.ARENA: plots.arena(deployed, device.board.ram),
    }
    write(metrics, evaluation, measured, tables)
    mcu = device.budget
    print(
        f"evaluate: UA, {protocol(SHIPS)} protocol: float {metrics['float']['ua']} %, int8 {metrics[SHIPS]['ua']} %; "
        f"{metrics['split']}\n"
        f"evaluate: {mcu.need.variant}, arena {mcu.need.arena_bytes:,} bytes, "
        f"{'fits' if mcu.fits else 'does not fit'} {device.board.name}"
    )
    if device.advice:
        print(f"evaluate: over budget: {device.advice}")


if __name__ == "__main__":
    run(main)
