"""The card of a model: what one has to know to feed it, in a JSON file beside it."""

import json
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline import paths
from pipeline.errors import MissingError, ModelError
from pipeline.params import Features
from pipeline.tflite.graph import Graph


@dataclass(frozen=True)
class Card:
    """`labels` in the order of the outputs; `kind` is how the eight bits were reached, ptq or qat."""

    labels: list[str]
    input_len: float
    sample_rate: int
    features: dict[str, Any]
    kind: str

    def feature_params(self) -> Features:
        """What the model hears; ModelError where the card says it in a way that is not known."""
        found = f"features is {self.features!r}, expected a mapping"
        if isinstance(self.features, dict):
            try:
                # Before there was a choice every clip was divided by its level, and nothing liftered.
                return Features.model_validate({"level": "clip", "lifter": 0} | self.features)
            except ValidationError as error:
                found = ", ".join(_line(problem) for problem in error.errors())
        raise ModelError(
            f"the model's card does not say what it hears ({found}): convert the model again"
        )

    def check(self, read: Graph, frames: int) -> None:
        """Hold a graph against its card.

        Parameters
        ----------
        frames : that `input_len` seconds of the card's features have

        Raises
        ------
        ModelError
            They do not belong together, or the graph is not in eight bits.
        """
        taken, given = read.tensors[read.inputs[0]], read.tensors[read.outputs[0]]
        if (taken.type, given.type) != ("INT8", "INT8"):
            raise ModelError(
                f"the model takes {taken.type} and gives {given.type}, expected INT8: export the int8 model"
            )
        expected = (1, frames, self.feature_params().bins, 1)
        if taken.shape != expected or prod(given.shape) != len(self.labels):
            raise ModelError(
                f"the model takes {taken.shape} and gives {given.shape}, its card says {expected} and {len(self.labels)} labels: they do not belong together"
            )


def _line(problem: Any) -> str:
    """One of pydantic's errors; what concerns several entries at once names them itself."""
    where = ".".join(map(str, ("features", *problem["loc"])))
    return f"{where}: {problem['msg']}" if problem["loc"] else problem["msg"]


def write(card: Card, model: Path) -> None:
    text = json.dumps(asdict(card), indent=2, ensure_ascii=False)
    model.with_suffix(".json").write_text(text + "\n", "utf-8")


def read(model: Path) -> Card:
    """The card of `model`.

    Raises
    ------
    MissingError
        Model or card are missing.
    ModelError
        The file beside the model is not a card.
    """
    paths.named(model, "an int8 flatbuffer")
    file = model.with_suffix(".json")
    if not file.is_file():
        raise MissingError(
            f"no {file}: a model needs its card beside it; `convert` writes one for model.tflite"
        )
    try:
        return Card(**json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError):
        raise ModelError(
            f"{file} is not the card of a model, expected what `convert` writes beside it: convert the model again"
        ) from None
