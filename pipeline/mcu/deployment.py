"""The model that goes onto the board: in which form, whether it fits, and its files."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BudgetError
from pipeline.mcu import boards, budget, variants
from pipeline.mcu.arena import Micro
from pipeline.mcu.boards import Board
from pipeline.mcu.budget import Budget
from pipeline.mcu.variants import Surroundings, Variants
from pipeline.params import Evaluate
from pipeline.tflite import graph, operators


@dataclass(frozen=True)
class Deployment:
    """A model on a board.

    content : the flatbuffer as converted
    measured : all its forms, the one to flash among them
    budget : of that one
    advice : what is missing where it does not fit, and what would make it; empty where it does
    """

    content: bytes
    board: Board
    measured: Variants
    budget: Budget
    advice: str


def make(content: bytes, p: Evaluate, around: Surroundings) -> Deployment:
    """Measure a plain int8 model in all its forms, and choose the one to flash.

    Raises
    ------
    BudgetError
        It does not fit the board, and `over_budget` is `fail`.
    ModelError
        Tiling was asked for and the model cannot be tiled.
    """
    board = boards.get(p.board)
    known = boards.load()
    least = min(each.ram - each.system_ram for each in known.values())
    measured = variants.measure(content, board, around, least)
    operators.check_int8(measured.deployed.content)
    made = budget.make(p.board, board, measured.need)
    others = [need.on(board) for need in measured.needs.values() if need != measured.need]
    advice = budget.explain(made, graph.read(content), others, known)
    if advice and p.over_budget == "fail":
        print(budget.render(made, around.no_front_end))
        raise BudgetError(advice)
    if made.fits:
        Micro(measured.deployed.content, made.arena_limit_bytes)  # in what the board leaves for it
    return Deployment(content, board, measured, made, advice)


def write(folder: Path, measured: Variants) -> None:
    """The model as it is flashed, and in parts with their plan, into a folder that is made."""
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(measured.deployed.content)
    if measured.streamed:
        parts = folder / "stream"
        parts.mkdir()
        for number, content in enumerate(measured.streamed.parts):
            (parts / f"part{number}.tflite").write_bytes(content)
        (parts / "head.tflite").write_bytes(measured.streamed.head)
        plan = json.dumps(measured.streamed.plan.to_dict(), indent=2)
        (parts / "plan.json").write_text(plan + "\n", "utf-8")
