"""What the int8 model hears in a recording; the same code as the pipeline's, without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio.decode import decode
from pipeline.audio.front_end import features
from pipeline.errors import AudioError
from pipeline.tflite import card
from pipeline.tflite.int8 import Int8Model


@dataclass(frozen=True)
class Prediction:
    """The label of a file, and the probability of each class."""

    file: str
    label: str
    probabilities: dict[str, float]


def predict(files: list[Path], model: Path) -> list[Prediction]:
    """Classify recordings of any format and rate.

    Raises
    ------
    AudioError
        A recording cannot be decoded, or is silent.
    MissingError
        The model is not there.
    """
    described = card.read(model)
    runner = Int8Model(model.read_bytes())
    predictions = []
    for file in files:
        y = decode(file, described.sample_rate)
        try:
            x = features(y, described.input_len, described.sample_rate, described.feature_params())
        except AudioError as problem:
            raise AudioError(f"{file}: {problem}") from None
        p = runner.probabilities(runner.run(x[np.newaxis, ..., np.newaxis]))[0]
        predictions.append(
            Prediction(
                str(file),
                described.labels[int(p.argmax())],
                {
                    label: round(float(value), 4)
                    for label, value in zip(described.labels, p, strict=True)
                },
            )
        )
    return predictions
