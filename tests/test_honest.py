"""That the stages keep to the folds: who is tested is learnt from by none of the models that test him."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ai_edge_litert.interpreter import Interpreter

from pipeline import convert, dataset, splits, train
from pipeline.models import fine_tuning
from pipeline.params import Params
from pipeline.splits import Fold

STEP = 1 / 256  # of the int8 output
NEAR = 3 * STEP  # optimized kernels round otherwise than the reference kernels


@pytest.fixture
def folds(finished: Path, monkeypatch: pytest.MonkeyPatch) -> list[Fold]:
    """Those of a finished run, whose folder is the current one; nothing may be written there."""
    monkeypatch.chdir(finished)
    return splits.read()


def feature(clip: str) -> np.ndarray:
    return np.load(f"data/features/{clip}.npy")[..., np.newaxis]


def probabilities(fold: str, clips: list[str]) -> np.ndarray:
    """What the fold's int8 model that ships says, through LiteRT alone [shape=(clips, classes)]."""
    interpreter = Interpreter(f"models/tflite/{fold}/model.tflite")
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    said = []
    for clip in clips:
        scale, zero = taken["quantization"]
        x = np.clip(np.rint(feature(clip) / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(taken["index"], x[np.newaxis])
        interpreter.invoke()
        scale, zero = given["quantization"]
        said.append((interpreter.get_tensor(given["index"])[0].astype(float) - zero) * scale)
    return np.array(said)


def test_each_clip_is_told_by_the_model_of_the_fold_that_kept_its_speaker_out(
    folds: list[Fold],
) -> None:
    rows = pd.read_csv("predictions.csv", dtype={"speaker": str})
    told = rows.filter(like="p_").to_numpy()
    others_differ = False
    for fold in splits.tested(folds):
        own = (rows["fold"] == fold.name).to_numpy()
        assert set(rows["clip"][own]) == set(fold.test)
        heard = set(rows["speaker"][rows["clip"].isin(fold.training_side)])
        assert heard.isdisjoint(rows["speaker"][own])
        clips = list(rows["clip"][own])
        np.testing.assert_allclose(told[own], probabilities(fold.name, clips), atol=NEAR)
        others_differ |= bool(
            np.abs(told[own] - probabilities(splits.FINAL, clips)).max() > 2 * NEAR
        )
    assert others_differ  # or the comparison would hold of any model


def test_float_scores_are_of_the_last_epoch_and_the_papers_of_the_best_one(
    folds: list[Fold],
) -> None:
    rows, curves = pd.read_csv("predictions.csv"), pd.read_csv("reports/learning_curves.csv")
    for fold in splits.tested(folds):
        own, seen = rows[rows["fold"] == fold.name], curves[curves["fold"] == fold.name]
        for model, expected in (
            ("float", seen["test_accuracy"].iloc[-1]),
            ("paper_protocol", seen["test_accuracy"].max()),
        ):
            right = (own[f"predicted_{model}"] == own["actual"]).mean()
            assert right == pytest.approx(expected, abs=1e-5)


def test_features_behind_librosa_score_as_the_model_that_ships(folds: list[Fold]) -> None:
    metrics = json.loads(Path("metrics.json").read_text())
    assert metrics["front_end"]["librosa"] == metrics["int8"]["ua"]


def test_no_stage_learns_from_a_clip_that_its_fold_tests(
    folds: list[Fold], toy: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine_tuned_on = []

    def cached(function: Callable[..., Any], version: str, ignore: list[str]) -> Callable[..., Any]:  # fmt: skip
        def fine_tune(json: str, weights: Any, train: dataset.Data, *rest: Any, **more: Any) -> None:  # fmt: skip
            fine_tuned_on.append(train.x)

        return fine_tune

    monkeypatch.setattr(fine_tuning, "cached", cached)
    data = dataset.load()
    for fold in splits.tested(folds):
        learnt, validation, tested = train.sides(fold)
        assert validation is None and tested is not None
        np.testing.assert_array_equal(learnt.x, [feature(clip) for clip in fold.train])
        np.testing.assert_array_equal(tested.x, [feature(clip) for clip in fold.test])
        fine_tuning._tune(fold, toy.quantize, 0, fine_tuning.CODE)
        np.testing.assert_array_equal(fine_tuned_on.pop(), learnt.x)
        ranges = convert.representative(data, fold, len(data.ids), 0)
        assert {x.tobytes() for x in ranges} == {x.tobytes() for x in learnt.x}
        assert {x.tobytes() for x in learnt.x}.isdisjoint(x.tobytes() for x in tested.x)
