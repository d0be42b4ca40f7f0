"""What the int8 model hears in a recording; the same code as the pipeline's, without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio import spectra
from pipeline.audio.decode import decode
from pipeline.audio.front_end import features
from pipeline.errors import AudioError
from pipeline.tflite import card, graph
from pipeline.tflite.int8 import Int8Model


@dataclass(frozen=True)
class Heard:
    """The most probable label, and the probability of each class."""

    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Prediction:
    """The label of a file, and the probability of each class."""

    file: str
    label: str
    probabilities: dict[str, float]


class Classifier:
    """An int8 model behind its front end. Not for two threads at a time.

    Parameters
    ----------
    model : the flatbuffer, with its card beside it

    Raises
    ------
    MissingError
        The model or its card is not there.
    ModelError
        They are not an int8 model and its card.
    """

    def __init__(self, model: Path) -> None:
        self.card = card.read(model)
        self._features = self.card.feature_params()
        content = model.read_bytes()
        samples = round(self.card.input_len * self.card.sample_rate)
        # LiteRT does not say what is wrong with a file.
        self.card.check(graph.read(content), spectra.frames(samples, self._features))
        self._runner = Int8Model(content)

    def hear(self, y: np.ndarray) -> Heard:
        """Classify the middle `card.input_len` seconds of `y`; what is shorter is padded.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)], at `card.sample_rate`

        Raises
        ------
        AudioError
            The middle is silent, or not finite.
        """
        x = features(y, self.card.input_len, self.card.sample_rate, self._features)
        p = self._runner.probabilities(self._runner.run(x[np.newaxis, ..., np.newaxis]))[0]
        return Heard(
            self.card.labels[int(p.argmax())],
            {
                label: round(float(value), 4)
                for label, value in zip(self.card.labels, p, strict=True)
            },
        )

    def windows(self, n: int, hop: float) -> list[tuple[int, int]]:
        """Where the model's input lies when it slides over `n` samples.

        Parameters
        ----------
        n : length of the recording in samples
        hop : from one window to the next, in seconds

        Returns
        -------
        list of (start, end) in samples
            The last window ends with the recording, so that all of it is heard; a recording that is
            no longer than the input is one window.
        """
        length = round(self.card.input_len * self.card.sample_rate)
        last = max(0, n - length)
        starts = [*range(0, last, round(hop * self.card.sample_rate)), last]
        return [(start, min(n, start + length)) for start in starts]


def predict(files: list[Path], model: Path) -> list[Prediction]:
    """Classify recordings of any format and rate.

    Raises
    ------
    AudioError
        A recording cannot be decoded, or is silent.
    MissingError
        The model is not there.
    """
    classifier = Classifier(model)
    predictions = []
    for file in files:
        y = decode(file, classifier.card.sample_rate)
        try:
            heard = classifier.hear(y)
        except AudioError as problem:
            raise AudioError(f"{file}: {problem}") from None
        predictions.append(Prediction(str(file), heard.label, heard.probabilities))
    return predictions
