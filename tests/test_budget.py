"""The budget: limits of real boards, and a message that says what to change."""

import numpy as np
import pytest

from pipeline.errors import ModelError, ParamsError
from pipeline.mcu import arena, boards, budget
from pipeline.mcu.arena import Arena
from pipeline.mcu.boards import Board
from pipeline.tflite.graph import Graph, Operator, Tensor

GRAPH = Graph(
    tensors=[
        Tensor("in", (1, 10, 10, 1), "INT8", False),
        Tensor("weights", (8, 3, 3, 1), "INT8", True),
        Tensor("wide", (1, 10, 10, 8), "INT8", False),
        Tensor("out", (1, 8), "INT8", False),
    ],
    operators=[Operator("CONV_2D", (0, 1), (2,)), Operator("MEAN", (2,), (3,))],
    inputs=(0,),
    outputs=(3,),
)
ARENA = Arena(1200, {"total": 1200, "activations": 1000, "persistent": 200})


def board(ram: int, flash: int) -> Board:
    return Board(name="A board", core="M4", mhz=100, ram=ram, flash=flash, source="")


def test_at_least_eight_boards_and_the_default_among_them() -> None:
    table = boards.load()
    assert len(table) >= 8
    assert table["stm32h743"].ram == 524_288


def test_an_unknown_board_lists_the_known_ones() -> None:
    with pytest.raises(ParamsError, match="expected one of nano33ble"):
        boards.get("esp8266")


@pytest.mark.parametrize(
    ("ram", "flash", "fits"), [(1200, 700, True), (1199, 700, False), (1200, 699, False)]
)
def test_the_limit_itself_fits_and_a_byte_less_does_not(ram: int, flash: int, fits: bool) -> None:
    found = budget.make("b", board(ram, flash), ARENA, 500, 200)
    assert found.fits is fits
    assert (budget.explain(found, ARENA, GRAPH, 3.0, {}) == "") is fits


def test_over_the_arena_it_says_how_much_what_and_what_to_change() -> None:
    found = budget.make("b", board(900, 700), ARENA, 500, 200)
    said = budget.explain(found, ARENA, GRAPH, 3.0, {"big": board(5000, 5000)})
    assert "needs 1,200 bytes, 300 more than the board's 900" in said
    assert "peak is at CONV_2D, largest tensor 1×10×10×8 (800 bytes)" in said
    assert "input_len of about 2.1 s" in said  # 3 s × (900 − 200) / 1000
    assert "a board that holds it (big)" in said
    assert "flash needs" not in said


def test_over_the_flash_it_says_so() -> None:
    found = budget.make("b", board(5000, 600), ARENA, 500, 200)
    said = budget.explain(found, ARENA, GRAPH, 3.0, {})
    assert "flash needs 700 bytes (model 500, runtime allowance 200), 100 more" in said
    assert "arena" not in said


def test_the_peak_counts_what_is_live_and_no_constant() -> None:
    operator, tensors = GRAPH.peak()
    assert (operator.name, [t.name for t in tensors]) == ("CONV_2D", ["wide", "in"])
    assert GRAPH.macs() == 800 * 9


def test_an_operator_that_tflite_micro_lacks_ends_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    class Lacking:
        def __init__(self, content: bytes, arena_bytes: int) -> None:
            tried.append(arena_bytes)
            raise MemoryError("Didn't find op for builtin opcode 'ATAN2'")

    monkeypatch.setattr(arena, "Micro", Lacking)
    with pytest.raises(ModelError, match="cannot run the model: Didn't find op"):
        arena.smallest(b"", np.zeros((1, 1, 1), np.int8))
    assert max(tried) == arena.LARGEST
