"""Which eight-bit model of a fold ships: the one nearer to the float model, on clips that the fold does not test."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline import convert, dataset
from pipeline.convert import Fidelity
from pipeline.dataset import Dataset
from pipeline.models import files
from pipeline.params import Params
from pipeline.splits import Fold
from pipeline.tflite import card, converter, graph

FOLD = Fold("speaker-a", train=["c0", "c1", "c4"], validation=["c3"], test=["c2", "c5"])
DATA = Dataset(
    ids=[f"c{number}" for number in range(6)],
    x=np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1),  # each clip is its own number
    y=np.array([0, 1, 0, 1, 0, 1]),
    labels=["glad", "sad"],
    speakers=list("ccabca"),
)


@pytest.fixture
def shipped(
    toy: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, list[Any]]]:
    """What is kept as model.tflite, by the divergence of each kind; and the clips that told."""
    monkeypatch.setattr(dataset, "load", lambda: DATA)
    monkeypatch.setattr(files, "load", lambda file: file)
    monkeypatch.setattr(converter, "to_int8", lambda model, x=None: b"qat" if x is None else b"ptq")
    monkeypatch.setattr(convert, "predict", lambda model, x: 10 * x)
    monkeypatch.setattr(graph, "read", lambda content: SimpleNamespace(histogram=dict))

    def run(**divergence: float) -> tuple[str, list[Any]]:
        seen = []

        def fidelity(content: bytes, x: np.ndarray, y: np.ndarray, teacher: np.ndarray) -> Fidelity:
            seen.append((x.ravel().tolist(), y.tolist(), teacher.ravel().tolist()))
            found = divergence[content.decode()]
            return Fidelity(found, accuracy=100 * found)  # the farther one hits more often

        monkeypatch.setattr(convert, "fidelity", fidelity)
        report = convert.convert(FOLD, toy, tmp_path / FOLD.name)
        model = tmp_path / FOLD.name / "model.tflite"
        kept = model.read_bytes().decode()
        assert kept == report["ships"] == card.read(model).kind
        assert {kind: side["divergence"] for kind, side in report["training_side"].items()} == divergence  # fmt: skip
        return kept, seen

    return run


@pytest.mark.parametrize(
    ("ptq", "qat", "ships"), [(0.2, 0.1, "qat"), (0.1, 0.2, "ptq"), (0.1, 0.1, "ptq")]
)
def test_the_model_nearer_to_the_float_model_ships_and_of_equals_the_plainer(
    shipped: Callable[..., tuple[str, list[Any]]], ptq: float, qat: float, ships: str
) -> None:
    assert shipped(ptq=ptq, qat=qat)[0] == ships


def test_the_choice_is_made_on_the_training_side_alone(
    shipped: Callable[..., tuple[str, list[Any]]],
) -> None:
    _, seen = shipped(ptq=0.1, qat=0.2)
    side = ([0, 1, 4, 3], [0, 1, 0, 1], [0, 10, 40, 30])
    assert seen == [side, side]
