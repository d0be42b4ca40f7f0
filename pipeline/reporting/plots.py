"""The tables behind DVC's plots: one row per mark."""

import pandas as pd

from pipeline.scoring.speakers import SCORES, Counts
from pipeline.tflite.graph import Graph


def by_speaker(predictions: pd.DataFrame, models: tuple[str, ...]) -> pd.DataFrame:
    """UA of each model for each speaker, in percent, over the classes that the speaker has."""
    speakers = predictions.groupby("speaker")
    table = {"speaker": list(speakers.groups), "clips": list(speakers.size())}
    for name in models:
        counts = Counts.of(predictions, f"predicted_{name}")
        table[f"ua_{name}"] = list(SCORES["ua"](counts.clips, counts.hits).round(2))
    return pd.DataFrame(table)


def sizes(file_bytes: dict[str, int], ua: dict[str, float]) -> pd.DataFrame:
    """Bytes of the final model's file in each form that was scored, and the UA of that form."""
    return pd.DataFrame(
        [
            {"model": name, "bytes": file_bytes[name], "ua": score}
            for name, score in ua.items()
            if name in file_bytes
        ]
    )


def arena(read: Graph, ram_bytes: int) -> pd.DataFrame:
    """Bytes of activations live while each operator runs, beside the board's RAM."""
    return pd.DataFrame(
        [
            {
                "operator": step,
                "name": operator.name,
                "live_bytes": sum(read.tensors[tensor].bytes for tensor in live),
                "ram_bytes": ram_bytes,
            }
            for step, (operator, live) in enumerate(
                zip(read.operators, read.live(), strict=True), 1
            )
        ]
    )
