"""Scores against a case computed by hand."""

import pandas as pd
import pytest

from pipeline.scoring import scores

ACTUAL = pd.Series(["a", "a", "a", "a", "b", "b"])
PREDICTED = pd.Series(["a", "a", "a", "b", "b", "a"])
FOLD = pd.Series(["x", "x", "y", "y", "x", "y"])


def test_ua_wa_and_f1_of_a_hand_computed_case() -> None:
    # Recall: a 3/4, b 1/2. F1: a 2·3/(2·3+1+1) = 0.75, b 2·1/(2·1+1+1) = 0.5.
    assert scores.summary(ACTUAL, PREDICTED) == {
        "ua": 62.5,
        "wa": pytest.approx(66.67),
        "f1": pytest.approx(100 * (4 * 0.75 + 2 * 0.5) / 6, abs=0.01),
    }


def test_a_class_that_is_only_predicted_does_not_lower_ua() -> None:
    assert scores.summary(pd.Series(["a", "a"]), pd.Series(["a", "c"]))["ua"] == 50.0


def test_detail_has_recall_and_confusion_with_their_spread() -> None:
    rows = pd.DataFrame({"actual": ACTUAL, "said": PREDICTED, "fold": FOLD, "speaker": FOLD})
    detail = scores.detail(rows, "said", ["a", "b"])
    assert detail["confusion"] == [[3, 1], [1, 1]]
    assert detail["recall"]["a"] == {"pooled": 75.0, "std_over_folds": 25.0}
    assert detail["folds"]["x"]["ua"] == 100.0
    assert detail["folds"]["y"]["ua"] == 25.0
    assert detail["mean_over_folds"]["ua"] == 62.5
    assert detail["std_over_folds"]["ua"] == 37.5
    assert detail["interval"] == {"ua": None, "wa": None}  # two speakers are too few for one
