"""What each part of the recipe is worth, on speakers that are set apart for choosing.

    dvc repro ingest                          # of the corpus that params.yaml names
    python -m benchmarks.ablation emodb4      # one column: trains, and writes experiments/ablation.json
    python -m benchmarks.ablation emodb4 mixup masks    # these alone, measured or not

Each variant of experiments/ablation.yaml trains float models that leave out one of the development
speakers at a time, and is scored on that speaker: at the last epoch, or, with `split.inner_validation`,
at the one that the next development speaker found best. The other speakers are for the runs
that come after all choices: they are not read, or, where the plan says `learn_from: all`, learnt from
but never scored. What was trained is kept, so that an interrupted run goes on where it was; a variant
that was measured by the same plan is not measured again unless it is named.
"""

import argparse
import json
from functools import partial
from typing import Any

from pipeline import manifest  # before TensorFlow, which reads what this sets

# isort: split
import numpy as np
import pandas as pd
import tf_keras
from sklearn.metrics import recall_score

from pipeline.audio.front_end import CachedFrontEnd
from pipeline.dataset import Data
from pipeline.errors import SernetError, listed, run
from pipeline.features import compute_all
from pipeline.mcu import arena
from pipeline.models import folds, lightsernet
from pipeline.models.folding import classifier_as_convolution, fold
from pipeline.models.folds import Job
from pipeline.models.inference import predict
from pipeline.models.training import Recipe
from pipeline.outputs import staged
from pipeline.params import Params
from pipeline.paths import CLIPS
from pipeline.reporting import ablation, revisions
from pipeline.reporting.ablation import AblationPlan
from pipeline.reporting.experiments import Corpus
from pipeline.tflite import converter, graph

CALIBRATION = 100  # clips


def features(rows: pd.DataFrame, p: Params) -> np.ndarray:
    """Of the clips in `rows` [shape=(clips, frames, bins, 1)]."""
    front_end = CachedFrontEnd(p.input_len, p.sample_rate, p.features)
    return np.stack([x for _, x, _ in compute_all(rows, CLIPS, front_end)])[..., np.newaxis]


def costs(network: tf_keras.Model, clips: np.ndarray) -> dict[str, int]:
    """What the network takes of a board; `clips` set the ranges of the int8 model."""
    content = converter.to_int8(classifier_as_convolution(fold(network)), clips)
    return {
        "macs": graph.read(content).macs(),
        "flash_bytes": len(content),
        "arena_bytes": arena.smallest(content).bytes,
    }


def sides(x: np.ndarray, y: np.ndarray, learnt: np.ndarray, inner: np.ndarray) -> folds.Sides:
    """A training on the clips `learnt`; those of `inner`, where there are any, choose its epoch."""
    return Data(x[learnt], y[learnt]), Data(x[inner], y[inner]) if inner.any() else None, None


def inner_side(held_out: list[np.ndarray], number: int, p: Params) -> np.ndarray:
    """Which clips choose the epoch where the speaker `number` is left out: those of the next one.

    That is one of the development speakers too: the others choose nothing. None without
    `split.inner_validation`.
    """
    following = held_out[(number + 1) % len(held_out)]
    return following if p.split.inner_validation else np.zeros_like(following)


def measure(rows: pd.DataFrame, speakers: list[str], p: Params, seeds: list[int]) -> dict[str, Any]:
    """Train with `p` on `rows` but those of one of the `speakers`, each in turn, and score it on these."""
    labels = manifest.labels(rows)
    y = rows["label"].map(labels.index).to_numpy()
    x = features(rows, p)
    recipe = Recipe(p.sample_rate, p.features, p.model, p.train, p.augment)
    network = lightsernet.build(*x.shape[1:3], len(labels), p.model)
    held_out = [(rows["speaker"] == name).to_numpy() for name in speakers]
    scored = np.any(held_out, axis=0)
    scores = []
    for seed in seeds:
        said = np.empty_like(y)
        jobs = []
        for n, out in enumerate(held_out):
            inner = inner_side(held_out, n, p)
            clips = partial(sides, x, y, ~(out | inner), inner)
            jobs.append(Job(f"seed {seed}, speaker {n}", clips, 100 * seed + n))
        for out, outcome in zip(held_out, folds.train(jobs, len(labels), recipe), strict=True):
            network.set_weights(outcome.weights)
            said[out] = predict(network, x[out]).argmax(axis=1)
        scores.append(round(100 * float(recall_score(y[scored], said[scored], average="macro")), 2))
    return {
        "ua": round(float(np.mean(scores)), 2),
        "ua_of_seeds": scores,
        **costs(network, x[:CALIBRATION]),
    }


def development(rows: pd.DataFrame, plan: AblationPlan, start: str) -> pd.DataFrame:
    """The clips that a choice may read.

    Raises
    ------
    SernetError
        The plan has no such start, or `rows` are not of its corpus.
    """
    if start not in plan.starts:
        raise SernetError(f"no column {start!r} in {ablation.PLAN}, expected one of {listed(plan.starts)}")  # fmt: skip
    corpus, classes = plan.starts[start].corpus, rows["label"].nunique()
    minutes = float(rows["seconds"].sum()) / 60
    missing = sorted(set(plan.speakers) - set(rows["speaker"]))
    if missing or not corpus.is_of(len(rows), classes, minutes):
        raise SernetError(
            f"{start} is on {corpus.name} ({corpus}), but what was ingested has {Corpus('', len(rows), classes, minutes)}"
            + (f" and lacks the speakers {listed(missing)}" if missing else "")
            + ": set corpus.name and corpus.path in params.yaml, then run `dvc repro ingest`"
        )
    if plan.starts[start].learn_from == "all":
        return rows
    return rows[rows["speaker"].isin(plan.speakers)].reset_index(drop=True)


def chosen(plan: AblationPlan, done: ablation.Results, start: str, named: list[str]) -> list[str]:
    """The variants to measure: those that are named, else those that were not measured by this plan.

    Raises
    ------
    SernetError
        The plan has no such variant, or it is what the first one is.
    """
    if unknown := [name for name in named if name not in plan.variants]:
        raise SernetError(f"no variant {listed(unknown)} in {ablation.PLAN}, expected some of {listed(plan.variants)}")  # fmt: skip
    column = plan.column(done, start)
    if had := [name for name in named if column.has(name)]:
        raise SernetError(f"{listed(had)} is what {plan.first} of {start} is, expected a variant that changes something")  # fmt: skip
    return named or [
        name for name in plan.variants if not column.has(name) and column.result(name) is None
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument(
        "start", help="a column of experiments/ablation.yaml, whose corpus was ingested before"
    )
    parser.add_argument(
        "variants", nargs="*", help="some of its variants; else those not measured yet"
    )
    arguments = parser.parse_args()
    name, plan = arguments.start, ablation.plan()
    rows = development(manifest.read(), plan, name)
    # Now: this is the code that was imported, whatever is committed while it trains.
    commit = revisions.commit_of("HEAD")
    for variant in chosen(plan, ablation.read(), name, arguments.variants):
        p = plan.params(name, variant)
        measured = {
            "key": plan.key(name, variant),
            "commit": commit,
            **measure(rows, plan.speakers, p, plan.seeds),
        }
        done = ablation.read()
        done.setdefault(name, {})[variant] = measured
        with staged(ablation.RESULTS) as (file,):
            file.write_text(json.dumps(done, indent=2) + "\n", "utf-8")
        print(f"{name}: {variant}: UA {measured['ua']:.2f} {measured['ua_of_seeds']}", flush=True)


if __name__ == "__main__":
    run(main)
