"""Learning curves: their means over the folds, and what the page says of each."""

import pandas as pd
import pytest

from pipeline import train
from pipeline.reporting.page import curves
from pipeline.reporting.page.charts import BOTTOM, LEFT, RIGHT, TOP


@pytest.fixture
def table() -> pd.DataFrame:
    """Two folds, of which one ended earlier, and the model to deploy; none ends at its best."""
    rows = [
        ("speaker-b", 1, 1.0, 0.50, 0.40),
        ("speaker-b", 2, 0.6, 0.70, 0.30),
        ("speaker-a", 1, 2.0, 0.30, 0.20),
        ("speaker-a", 2, 1.0, 0.50, 0.60),
        ("speaker-a", 3, 0.8, 0.60, 0.50),
        ("final", 1, 9.0, 0.10, None),
        ("final", 2, 0.2, 0.90, None),
    ]
    names = ["fold", "epoch", "train_loss", "train_accuracy", "test_accuracy"]
    return pd.DataFrame(rows, columns=names)


def test_means_are_over_the_tested_folds_as_far_as_all_went(table: pd.DataFrame) -> None:
    means = train.mean_curves(table)
    assert list(means.index) == [1, 2]
    assert means["train_loss"].tolist() == pytest.approx([1.5, 0.8])
    assert means["train_accuracy"].tolist() == pytest.approx([0.4, 0.6])
    assert means["test_accuracy"].tolist() == pytest.approx([0.3, 0.45])


def test_the_page_has_the_last_epoch_of_each_training_and_its_best_on_the_test_fold(
    table: pd.DataFrame,
) -> None:
    found = curves.of_folds(table.iloc[::-1])  # in whatever order the rows stand
    assert found is not None
    said = {
        fold.title: (fold.epochs, fold.loss, fold.train, fold.test, fold.best_test)
        for fold in found.folds
    }
    assert said == {
        "The model to deploy": (2, 0.2, 90.0, None, None),
        "speaker-a": (3, 0.8, 60.0, 50.0, 60.0),
        "speaker-b": (2, 0.6, 70.0, 30.0, 40.0),
    }
    assert "a line for each of 3 trainings: after the last epoch 0.200 to 0.800." in found.loss.summary  # fmt: skip


def test_the_charts_have_a_line_for_each_training_and_each_accuracy(table: pd.DataFrame) -> None:
    found = curves.of_folds(table)
    assert found is not None
    assert [style for style, _ in found.loss.lines] == ["deployed", "loss", "loss"]
    styles = [[style for style, _ in fold.chart.lines] for fold in found.folds]
    assert styles == [["train"], ["train", "test"], ["train", "test"]]
    # Of speaker-a on its test fold, in percent of the height and thirds of the width.
    third, point = (RIGHT - LEFT) / 3, (BOTTOM - TOP) / 100
    (_, path) = found.folds[1].chart.lines[1]
    drawn = [tuple(map(float, pair.split())) for pair in path.removeprefix("M").split("L")]
    by_hand = [(LEFT + n * third, BOTTOM - y * point) for n, y in ((1, 20), (2, 60), (3, 50))]
    assert drawn == [pytest.approx(pair, abs=0.06) for pair in by_hand]


def test_no_curves_are_no_charts(table: pd.DataFrame) -> None:
    assert curves.of_folds(None) is None
    assert curves.of_folds(table.iloc[:0]) is None
