"""The table of boards, and which of them hold a model."""

import textwrap
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from pipeline import forms
from pipeline.errors import ParamsError
from pipeline.mcu import COLUMNS, cores
from pipeline.mcu.cores import CMSIS_NN

OWN = Path("boards.yaml")  # at the root of the project: a user's boards, in the table's form

Bytes = Annotated[int, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]


class Board(BaseModel):
    """A board.

    ram : the largest contiguous region, which is what an arena can have, in bytes
    flash : what a program can use, in bytes
    core : a name in cores.yaml, or another, of which neither speed nor compiler flags are known
    ram_total : all regions together, where there are several, in bytes
    npu : the accelerator beside the core, by Vela's name
    system_ram : what the system that the board usually runs takes before the program, in bytes
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Text
    core: Text
    mhz: Annotated[int, Field(gt=0)]
    ram: Bytes
    flash: Bytes
    source: str
    ram_total: Bytes | None = None
    npu: Text | None = None
    system_ram: Annotated[int, Field(ge=0)] = 0


_TABLE = pydantic.TypeAdapter(dict[str, Board])


def load(own: Path = OWN) -> dict[str, Board]:
    """All boards by their short names: the package's, and those in `own` where that file exists.

    An entry in `own` takes the place of one of the same name.

    Raises
    ------
    ParamsError
        `own` is not a table of boards; the message names the entries and what they should be.
    """
    table = (files(__package__) / "boards.yaml").read_text("utf-8")
    boards = _boards(YAML(typ="safe").load(table), "pipeline/mcu/boards.yaml")
    if own.is_file():
        boards |= _boards(forms.content(own), str(own))
    return boards


def get(name: str, own: Path = OWN, said: str = "evaluate.board") -> Board:
    """The board `name`, which the user gave as `said`; ParamsError lists the known ones."""
    boards = load(own)
    if name not in boards:
        raise ParamsError(
            f"{said} is {name!r}, expected one of {', '.join(boards)}, or an entry of your own in {own}"
        )
    return boards[name]


class Sizes(NamedTuple):
    """What a variant of a model needs of any board, in bytes.

    ram : with the scratch memory of CMSIS-NN's kernels
    scratch : of each set of kernels, by its name; nothing of a run from before it was kept
    """

    ram: int
    flash: int
    scratch: Mapping[str, int] = {}

    @staticmethod
    def of(variant: Mapping[str, Any]) -> "Sizes":
        """Of a variant as `evaluate` writes it."""
        return Sizes(variant["ram_bytes"], variant["flash_bytes"], variant.get("scratch", {}))


def ram_on(board: Board, need: Sizes) -> int:
    """Bytes of RAM that are taken on a board by what needs so much of any, its system's included.

    Raises
    ------
    KeyError
        The scratch memory of the board's kernels is not known.
    """
    kernels = cores.kernels(board.core)
    if kernels == CMSIS_NN:
        return need.ram + board.system_ram
    return need.ram + board.system_ram + need.scratch[kernels] - need.scratch[CMSIS_NN]


def fits(board: Board, need: Sizes) -> bool:
    """Whether so much fits, all RAM being in the board's largest contiguous region.

    Where the scratch memory of the board's kernels is not known, it is not known to fit either.
    """
    return _verdict(board, need) == "fits"


def table(boards: Mapping[str, Board], variants: Mapping[str, Sizes] | None = None) -> str:
    """The boards for a terminal of 80 columns, and which of them hold each variant of a model.

    Parameters
    ----------
    boards : by their short names
    variants : by what each is called; up to three have room, with names of up to nine letters
    """
    variants = variants or {}
    heads = "".join(f" {name:>9.9}" for name in variants)
    lines = [f"{'board':16} {'RAM KiB':>7} {'flash KiB':>9} {'core, MHz':15}{heads}".rstrip()]
    for key, board in boards.items():
        verdicts = "".join(f" {_verdict(board, need):>9}" for need in variants.values())
        core = f"{board.core} {board.mhz}"
        lines.append(
            f"{key:16} {board.ram // 1024:7,} {board.flash // 1024:9,} {core:15}{verdicts}".rstrip()
        )
    notes = ["RAM is the largest contiguous region; check the vendor before relying on it."]
    if variants:
        needed = "; ".join(
            f"{name} {need.ram:,} bytes of RAM and {need.flash:,} of flash"
            for name, need in variants.items()
        )
        notes[:0] = [f"Needed: {needed}. RAM, flash or both: what is too small."]
        notes += _notes(boards, variants)
    return "\n".join(
        [*lines, "", *(text for note in notes for text in textwrap.wrap(note, COLUMNS))]
    )


def _notes(boards: Mapping[str, Board], variants: Mapping[str, Sizes]) -> Iterator[str]:
    """What is different on some boards from what the table says is needed."""
    systems = [f"{key} {board.system_ram:,}" for key, board in boards.items() if board.system_ram]
    if systems:
        yield f"Beside that a system takes, in bytes: {'; '.join(systems)}."
    others = {cores.kernels(board.core) for board in boards.values()} - {CMSIS_NN}
    for kernels in sorted(others):
        known = [
            f"{name} {need.scratch[kernels]:,}"
            for name, need in variants.items()
            if kernels in need.scratch
        ]
        if known:
            yield f"Convolution scratch is CMSIS-NN's; with {kernels} it is: {'; '.join(known)}."
        if len(known) < len(variants):
            yield f"not known: the scratch memory of {kernels} was not kept, run `dvc repro`."


def _verdict(board: Board, need: Sizes) -> str:
    try:
        ram = ram_on(board, need)
    except KeyError:
        return "not known"
    if ram <= board.ram and need.flash <= board.flash:
        return "fits"
    if ram > board.ram and need.flash > board.flash:
        return "both"
    return "RAM" if ram > board.ram else "flash"


def _boards(content: Any, name: str) -> dict[str, Board]:
    """The boards of a file that is called `name` in errors."""
    if content is None:  # comments only
        return {}
    if not isinstance(content, dict):
        raise ParamsError(f"{name}: expected a table of boards by name, found {content!r}")
    try:
        # YAML reads a name of digits as a number.
        return _TABLE.validate_python({str(key): entry for key, entry in content.items()})
    except pydantic.ValidationError as error:
        problems = "; ".join(forms.problem(found) for found in error.errors())
        needed = [field for field, of in Board.model_fields.items() if of.is_required()]
        raise ParamsError(f"{name}: {problems}. A board has {', '.join(needed)}") from None
