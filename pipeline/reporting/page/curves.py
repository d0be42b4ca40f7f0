"""How training went in each fold."""

from dataclasses import dataclass

import pandas as pd

from pipeline import splits
from pipeline.reporting.page.charts import Chart, Series, chart


@dataclass(frozen=True)
class Curve:
    """A fold's training; accuracies in percent. `test` and `best_test` are None without a test side."""

    title: str
    epochs: int
    loss: float
    train: float
    test: float | None
    best_test: float | None
    chart: Chart


@dataclass(frozen=True)
class Curves:
    """`loss` has a line for each fold, `folds` a chart of accuracy each."""

    loss: Chart
    folds: list[Curve]


def of_folds(table: pd.DataFrame | None) -> Curves | None:
    """The folds in the order of the table, the training of the deployed model included."""
    if table is None or table.empty:
        return None
    table = table.sort_values("epoch", kind="stable")
    by_fold = {str(name): rows for name, rows in table.groupby("fold", sort=True)}
    last = [float(rows["train_loss"].iloc[-1]) for rows in by_fold.values()]
    epochs = float(table["epoch"].max())
    loss = chart(
        series=[
            Series(
                name, "deployed" if name == splits.FINAL else "loss", _points(rows, "train_loss")
            )
            for name, rows in by_fold.items()
        ],
        x_label="epoch",
        y_label="loss",
        x_range=(0, epochs),
        y_range=(0, 1.05 * float(table["train_loss"].max())),
        summary=f"Training loss, a line for each of {len(by_fold)} trainings: after the last epoch {min(last):.3f} to {max(last):.3f}.",
    )
    return Curves(loss, [_of_fold(name, rows, epochs) for name, rows in by_fold.items()])


def _of_fold(name: str, rows: pd.DataFrame, epochs: float) -> Curve:
    tested = rows.dropna(subset=["test_accuracy"])
    train = 100 * float(rows["train_accuracy"].iloc[-1])
    test = 100 * float(tested["test_accuracy"].iloc[-1]) if len(tested) else None
    title = "The model to deploy" if name == splits.FINAL else name
    on_test = "" if test is None else f", {test:.1f} % on the test fold"
    return Curve(
        title=title,
        epochs=len(rows),
        loss=float(rows["train_loss"].iloc[-1]),
        train=train,
        test=test,
        best_test=100 * float(tested["test_accuracy"].max()) if len(tested) else None,
        chart=chart(
            series=[
                Series("train", "train", _points(rows, "train_accuracy", 100)),
                Series("test", "test", _points(tested, "test_accuracy", 100)),
            ],
            x_label="epoch",
            y_label="accuracy, %",
            x_range=(0, epochs),
            y_range=(0, 100),
            summary=f"{title}, accuracy after {len(rows)} epochs: {train:.1f} % in training{on_test}.",
        ),
    )


def _points(rows: pd.DataFrame, column: str, factor: float = 1) -> list[tuple[float, float]]:
    return [
        (float(epoch), factor * float(value))
        for epoch, value in zip(rows["epoch"], rows[column], strict=True)
    ]
