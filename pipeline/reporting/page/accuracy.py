"""How good the run's models are: the figures behind the page's tables and points."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.reporting.page.charts import Chart, Mark, chart
from pipeline.scoring.protocols import MODELS, PAPERS, SHIPS
from pipeline.scoring.speakers import SCORES, Counts

KIB = 1024


@dataclass(frozen=True)
class ModelScores:
    """A model under a protocol; scores in percent, None where the run does not have them.

    low, high : 95 % interval of UA, by bootstrap over speakers
    mean, deviation : of the folds' UA
    """

    name: str
    honest: bool
    ships: bool
    ua: float
    wa: float
    f1: float
    low: float | None
    high: float | None
    mean: float | None
    deviation: float | None


def result(metrics: dict[str, Any]) -> list[ModelScores]:
    """The models, the one that ships first and the paper's protocol last."""
    rows = []
    for key in sorted(MODELS, key=lambda key: (key == PAPERS, key != SHIPS)):
        if of := metrics.get(key):
            rows.append(
                ModelScores(
                    name=MODELS[key],
                    honest=key != PAPERS,
                    ships=key == SHIPS,
                    ua=of["ua"],
                    wa=of["wa"],
                    f1=of["f1"],
                    low=of.get("ua_low"),
                    high=of.get("ua_high"),
                    mean=of.get("ua_folds"),
                    deviation=of.get("ua_std"),
                )
            )
    return rows


def chance(metrics: dict[str, Any]) -> float:
    """UA of guessing, in percent."""
    return 100 / metrics["classes"]


@dataclass(frozen=True)
class Confusion:
    """`counts` and `percent` of the actual class [shape=(classes, classes)], a row per actual one."""

    labels: list[str]
    counts: list[list[int]]
    percent: list[list[float]]


def confusion(predictions: pd.DataFrame | None) -> Confusion | None:
    """Of the int8 model that ships, over the test clips of all folds."""
    if predictions is None:
        return None
    actual, said = predictions["actual"], predictions["predicted_int8"]
    labels = sorted(set(actual) | set(said))
    counts = pd.crosstab(actual, said).reindex(index=labels, columns=labels, fill_value=0)
    values = counts.to_numpy()
    clips = values.sum(axis=1, keepdims=True)
    percent = np.divide(100 * values, clips, out=np.zeros(values.shape), where=clips > 0)
    return Confusion(labels, values.tolist(), percent.tolist())


@dataclass(frozen=True)
class Speaker:
    """A speaker as a stranger to the model; UA in percent over the classes that the speaker has."""

    name: str
    clips: int
    float_ua: float
    int8_ua: float


def by_speaker(predictions: pd.DataFrame | None) -> list[Speaker] | None:
    """Each speaker's own UA, in the order of their names."""
    if predictions is None:
        return None
    counts = {kind: Counts.of(predictions, f"predicted_{kind}") for kind in ("float", "int8")}
    ua = {kind: SCORES["ua"](of.clips, of.hits) for kind, of in counts.items()}
    clips = counts["int8"].clips.sum(axis=1)
    return [
        Speaker(name, int(clips[i]), float(ua["float"][i]), float(ua["int8"][i]))
        for i, name in enumerate(sorted(predictions["speaker"].unique()))
    ]


@dataclass(frozen=True)
class Size:
    """A file of the final model; `ua` is None for a form that was not scored."""

    name: str
    bytes: int
    ua: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Sizes:
    rows: list[Size]
    chart: Chart


FORMS = {"float": "float32", "float16": "float16 weights", "ptq": "int8, post-training", "qat": "int8, fine-tuned"}  # fmt: skip


def sizes(metrics: dict[str, Any], conversion: dict[str, Any] | None) -> Sizes | None:
    """Accuracy against bytes: files of the final model, scores of the folds' models in that form."""
    files = (conversion or {}).get("final", {}).get("bytes", {})
    rows = []
    marks = []
    for key, name in FORMS.items():
        if key not in files:
            continue
        of = metrics.get(key, {})
        rows.append(Size(name, files[key], of.get("ua"), of.get("ua_low"), of.get("ua_high")))
        if "ua" in of:
            marks.append(Mark(name, key, files[key] / KIB, of["ua"]))
    if not marks:
        return None
    drawn = chart(
        marks=marks,
        x_label="file, KiB",
        y_label="UA, %",
        x_range=(0, 1.05 * max(mark.x for mark in marks)),
        y_range=(0, 100),
        summary="UA in percent against the bytes of the file, a point for each form of the model; the table has the figures.",
    )
    return Sizes(rows, drawn)


@dataclass(frozen=True)
class Condition:
    """UA of the int8 model under a condition, in percent."""

    name: str
    description: str
    ua: float


def conditions(metrics: dict[str, Any], evaluation: dict[str, Any] | None) -> list[Condition]:
    """The front ends of the device and the disturbances that the run was tried with, if any."""
    found = [Condition(name, "front end", ua) for name, ua in metrics.get("front_end", {}).items()]
    for name, scores in (evaluation or {}).get("robustness", {}).items():
        found.append(Condition(name, scores.get("description", ""), scores["ua"]))
    return found
