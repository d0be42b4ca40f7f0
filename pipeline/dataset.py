"""The features and labels of all clips in memory, and of some of them."""

from dataclasses import dataclass

import numpy as np

from pipeline import manifest, paths


@dataclass(frozen=True)
class Data:
    """Clips of one side of a fold: `x` [shape=(clips, frames, bins, 1)], `y` class numbers."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """All clips.

    ids : in the order of the arrays
    x : features [shape=(clips, frames, bins, 1)], float32
    y : class numbers [shape=(clips,)]
    labels : the classes, by number
    speakers : of each clip
    """

    ids: list[str]
    x: np.ndarray
    y: np.ndarray
    labels: list[str]
    speakers: list[str]

    def rows(self, ids: list[str]) -> np.ndarray:
        """Positions of the clips `ids`."""
        position = {clip: row for row, clip in enumerate(self.ids)}
        return np.array([position[clip] for clip in ids], dtype=np.intp)

    def part(self, ids: list[str]) -> Data:
        """The clips `ids`, in that order."""
        rows = self.rows(ids)
        return Data(self.x[rows], self.y[rows])


def load() -> Dataset:
    """What ingest and features wrote."""
    table = manifest.read()
    labels = manifest.labels(table)
    ids = list(table["clip"])
    folder = paths.require(paths.FEATURES)
    return Dataset(
        ids=ids,
        x=np.stack([np.load(folder / f"{clip}.npy") for clip in ids])[..., np.newaxis],
        y=table["label"].map(labels.index).to_numpy(),
        labels=labels,
        speakers=list(table["speaker"]),
    )
