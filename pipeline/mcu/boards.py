"""The table of boards."""

from importlib.resources import files
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from pipeline.errors import ParamsError

Bytes = Annotated[int, Field(gt=0)]


class Board(BaseModel):
    """`ram` is the largest contiguous region, `flash` what a program can use, both in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    core: str
    mhz: Annotated[int, Field(gt=0)]
    ram: Bytes
    flash: Bytes
    source: str


def load() -> dict[str, Board]:
    """All boards by their short names."""
    content = YAML(typ="safe").load((files(__package__) / "boards.yaml").read_text("utf-8"))
    return {key: Board.model_validate(value) for key, value in content.items()}


def get(name: str) -> Board:
    """The board `name`; ParamsError lists the known ones."""
    boards = load()
    if name not in boards:
        raise ParamsError(
            f"evaluate.board is {name!r}, expected one of {', '.join(boards)}, or an entry of your own in pipeline/mcu/boards.yaml"
        )
    return boards[name]
