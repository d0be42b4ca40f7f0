"""What the page reads of the run in the current folder; all but the metrics may be missing."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline import params, paths
from pipeline.errors import SernetError
from pipeline.reporting import runs

CURVES = ("fold", "epoch", "train_loss", "train_accuracy", "test_accuracy")


@dataclass(frozen=True)
class Input:
    """What the network sees of a clip: so many seconds, as features of a kind."""

    seconds: float
    sample_rate: int
    kind: str
    levelled: bool


@dataclass(frozen=True)
class Run:
    """A run; None stands for a file that is not there.

    predictions : a row per test clip, all columns as text
    learning_curves : a row per fold and epoch, accuracies from 0 to 1
    input : None as well where params.yaml does not tell it
    """

    metrics: dict[str, Any]
    evaluation: dict[str, Any] | None
    conversion: dict[str, Any] | None
    validation: dict[str, Any] | None
    predictions: pd.DataFrame | None
    learning_curves: pd.DataFrame | None
    input: Input | None
    params_text: str | None


def read() -> Run:
    """The run in the current folder.

    Raises
    ------
    SernetError
        There is no metrics.json (MissingError), or a file is not what its stage writes.
    """
    metrics = _json(paths.require(paths.METRICS))
    return Run(
        metrics=metrics,
        evaluation=_json(paths.EVALUATION),
        conversion=_json(paths.CONVERSION),
        validation=_json(paths.VALIDATION),
        predictions=_predictions(),
        learning_curves=_curves(),
        input=_input(),
        params_text=params.PATH.read_text("utf-8") if params.PATH.is_file() else None,
    )


def _json(file: Path) -> Any:
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise SernetError(f"{file} is not a JSON object, expected what `dvc repro` writes")
    return content


def _predictions() -> pd.DataFrame | None:
    if not paths.PREDICTIONS.is_file():
        return None
    needed = ("clip", "speaker", "actual", "predicted_float", "predicted_int8")
    return _with(needed, runs.predictions(str(paths.PREDICTIONS)), paths.PREDICTIONS)


def _curves() -> pd.DataFrame | None:
    if not paths.LEARNING_CURVES.is_file():
        return None
    try:
        table = pd.read_csv(paths.LEARNING_CURVES, dtype={"fold": str})
    except ValueError:  # of decoding too; an empty file has no columns
        table = pd.DataFrame()
    return _with(CURVES, table, paths.LEARNING_CURVES)


def _with(columns: tuple[str, ...], table: pd.DataFrame, file: Path) -> pd.DataFrame:
    if missing := [name for name in columns if name not in table]:
        raise SernetError(
            f"{file} lacks the column(s) {', '.join(missing)}, expected what `dvc repro` writes"
        )
    return table


def _input() -> Input | None:
    """Read without the typed model, which refuses params.yaml of an older or a newer version."""
    if not params.PATH.is_file():
        return None
    try:
        content = YAML(typ="safe").load(params.PATH)
        features = content["features"]
        return Input(
            seconds=float(content["input_len"]),
            sample_rate=int(content["sample_rate"]),
            kind=str(features["kind"]),
            levelled=features.get("level", "clip") == "clip",
        )
    except (YAMLError, KeyError, TypeError, ValueError, AttributeError):
        return None
