"""The field's three scores, per class and per fold."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from pipeline.scoring.speakers import interval


def summary(actual: pd.Series, predicted: pd.Series) -> dict[str, float]:
    """UA (mean recall over the classes present), WA (accuracy) and weighted F1, in percent."""
    return {
        "ua": round(100 * recall_score(actual, predicted, average="macro", labels=sorted(set(actual)), zero_division=0), 2),
        "wa": round(100 * accuracy_score(actual, predicted), 2),
        "f1": round(100 * f1_score(actual, predicted, average="weighted", zero_division=0), 2),
    }  # fmt: skip


def spread(actual: pd.Series, predicted: pd.Series, fold: pd.Series) -> dict[str, Any]:
    """Mean and standard deviation over folds of the three scores, and the folds' own."""
    folds = {
        name: summary(actual[fold == name], predicted[fold == name]) for name in dict.fromkeys(fold)
    }
    table = pd.DataFrame(folds).T
    return {
        "mean_over_folds": table.mean().round(2).to_dict(),
        "std_over_folds": table.std(ddof=0).round(2).to_dict(),
        "folds": folds,
    }


def detail(rows: pd.DataFrame, predicted: str, labels: list[str]) -> dict[str, Any]:
    """Everything about one model: pooled scores, how sure they are, recall per class, confusion.

    Parameters
    ----------
    rows : a row per test clip, with `fold`, `speaker` and `actual`
    predicted : the column with what the model said
    labels : all classes

    Returns
    -------
    dict
        `confusion` has a row per actual class and a column per predicted one, in the order of
        `labels`. `recall` gives each class's pooled recall with its spread over the folds that test
        the class. `interval` is of 95 %, by bootstrap over speakers; None where they are too few.
    """
    actual, said, fold = rows["actual"], rows[predicted], rows["fold"]
    recalls: dict[str, dict[str, float]] = {}
    for label in labels:
        of_class = actual == label
        hits = (said == label)[of_class]
        per_fold = hits.groupby(fold[of_class]).mean()
        recalls[label] = {
            "pooled": round(100 * float(hits.mean()), 2),
            "std_over_folds": round(100 * float(np.std(per_fold)), 2),
        }
    return {
        **summary(actual, said),
        "interval": {
            score: asdict(found) if (found := interval(rows, predicted, score)) else None
            for score in ("ua", "wa")
        },
        **spread(actual, said, fold),
        "recall": recalls,
        "confusion": confusion_matrix(actual, said, labels=labels).tolist(),
    }
