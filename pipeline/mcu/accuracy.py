"""How good the int8 models are behind the device's own front end, and under what happens to sound.

The same test clips and the same models as everywhere: each fold's model that ships, on the clips of
the speakers that it has not heard.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import paths, workers
from pipeline.dataset import Dataset
from pipeline.mcu import cmsis, front_end
from pipeline.mcu.front_end import CHAINS, Chain
from pipeline.mcu.robustness import CONDITIONS
from pipeline.params import Features
from pipeline.progress import Progress
from pipeline.scoring import scores
from pipeline.splits import Fold
from pipeline.tflite.int8 import Int8Model

LIBROSA = "librosa"  # the front end of training


@dataclass(frozen=True)
class Models:
    """The int8 models of the folds, on the clips that each has to tell.

    rows : of each fold's test clips in the dataset
    """

    contents: list[bytes]
    rows: list[list[int]]

    @staticmethod
    def of(data: Dataset, tested: list[Fold]) -> "Models":
        contents = [(paths.TFLITE / fold.name / "model.tflite").read_bytes() for fold in tested]
        return Models(contents, [list(data.rows(fold.test)) for fold in tested])

    def classes(self, x: np.ndarray, reference: bool) -> np.ndarray:
        """The class of each clip [shape=(clips,)] by its fold's model; −1 where no fold tests it.

        Parameters
        ----------
        x : features of all clips of the dataset [shape=(clips, frames, bins, 1)]
        reference : run LiteRT's reference kernels, whose bits are the device's
        """
        said = np.full(len(x), -1)
        calls = [
            (content, x[rows], reference)
            for content, rows in zip(self.contents, self.rows, strict=True)
        ]
        for rows, of_fold in zip(self.rows, workers.run(_classes, calls), strict=True):
            said[rows] = of_fold
        return said


def _classes(content: bytes, x: np.ndarray, reference: bool) -> np.ndarray:
    return Int8Model(content, reference=reference).run(x).argmax(axis=1)


def _scores(data: Dataset, said: np.ndarray) -> dict[str, Any]:
    tested = said >= 0
    labels = np.array(data.labels)
    return scores.summary(pd.Series(labels[data.y[tested]]), pd.Series(labels[said[tested]]))


def _clips(data: Dataset) -> dict[str, Path]:
    return {clip: paths.CLIPS / f"{clip}.wav" for clip in data.ids}


def by_front_end(
    data: Dataset, models: Models, input_len: float, sample_rate: int, p: Features
) -> dict[str, dict[str, Any]]:
    """Scores behind training's front end and behind each of the device's that has these features.

    Returns
    -------
    dict
        By the front end's name: `ua`, `wa`, `f1` in percent; `largest_difference` and
        `mean_difference` of its features from training's, in their own unit. What the device does
        not compute in an arithmetic is left out.
    """
    table = {LIBROSA: _scores(data, models.classes(data.x, reference=True))}
    chains = {
        name: chain
        for name, chain in CHAINS.items()
        # With nothing to level, the ways to find the level are one.
        if cmsis.has(chain.kind, p) and (chain.mode == "whole" or cmsis.levelled(p))
    }
    for name, chain in Progress(chains.items(), name="front ends", unit="chain"):
        x = front_end.of_clips(_clips(data), chain, input_len, sample_rate, p)[..., np.newaxis]
        difference = np.abs(x - data.x)
        table[name] = {
            **_scores(data, models.classes(x, reference=True)),
            "largest_difference": round(float(difference.max()), 4),
            "mean_difference": round(float(difference.mean()), 6),
        }
    return table


def by_condition(
    data: Dataset, models: Models, chain: Chain, input_len: float, sample_rate: int, p: Features
) -> dict[str, dict[str, Any]]:
    """Scores under each perturbation of the samples, behind the device's front end `chain`.

    LiteRT's optimized kernels run here: a step of difference on a few clips in a hundred is nothing
    beside what a perturbation does.
    """
    table = {}
    for name, condition in Progress(CONDITIONS.items(), name="robustness", unit="condition"):
        x = front_end.of_clips(_clips(data), chain, input_len, sample_rate, p, change=condition)
        said = models.classes(x[..., np.newaxis], reference=False)
        table[name] = {"description": condition.description, **_scores(data, said)}
    return table
