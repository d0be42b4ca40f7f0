"""The budget: limits of real boards, and a message that says what to change."""

import json
from dataclasses import replace

import pytest

from pipeline.errors import ModelError, ParamsError
from pipeline.mcu import arena, boards, budget
from pipeline.mcu.boards import Board, Sizes
from pipeline.mcu.budget import Line, Need
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


def board(ram: int, flash: int, core: str = "M4") -> Board:
    return Board(name="A board", core=core, mhz=100, ram=ram, flash=flash, source="")


def need(variant: str = "plain", arena: int = 1200) -> Need:
    return Need(
        variant,
        (Line("tensor arena", arena, "measured"), Line("stack", 100, "allowed for")),
        (Line("model", 500, "measured"), Line("code", 200, "allowed for")),
    )


def test_at_least_eight_boards_and_the_default_among_them() -> None:
    known = boards.load()
    assert len(known) >= 8
    assert known["stm32h743"].ram == 524_288
    assert known["nano33ble"].flash == 983_040


def test_an_unknown_board_lists_the_known_ones() -> None:
    with pytest.raises(ParamsError, match="expected one of nano33ble"):
        boards.get("abacus")


@pytest.mark.parametrize(
    ("ram", "flash", "fits"),
    [(1300, 700, True), (1299, 700, False), (1300, 699, False)],
)
def test_all_that_is_needed_fits_and_a_byte_less_does_not(ram: int, flash: int, fits: bool) -> None:
    found = budget.make("b", board(ram, flash), need())
    assert found.fits is fits
    assert (budget.explain(found, GRAPH, [], {}) == "") is fits
    assert found.arena_limit_bytes == ram - 100


def test_over_the_ram_it_says_how_much_what_and_what_would_make_it_fit() -> None:
    found = budget.make("b", board(900, 700), need())
    streaming, tiled = need("streaming", 300), need("tiled", 850)
    said = budget.explain(found, GRAPH, [streaming, tiled], {"big": board(5000, 5000)})
    assert "plain, it needs 1,300 bytes of RAM, 400 more than the board's 900" in said
    assert "largest tensor is 1×10×10×8 (800 bytes), at CONV_2D" in said
    assert "run it streaming (400 bytes of RAM)" in said
    assert "run it tiled" not in said  # 950 bytes with the stack
    assert "a board that holds it (big)" in said
    assert "of flash" not in said


def test_a_board_gets_the_scratch_of_its_own_kernels() -> None:
    asked = {"CMSIS-NN": 40, "ESP-NN": 9_000}
    anywhere = replace(
        need(), ram=(*need().ram, budget.scratch_line("CMSIS-NN", 40)), scratch=asked
    )
    esp, arm = board(9_000, 700, "Xtensa LX7"), board(9_000, 700)
    on_esp = budget.make("esp", esp, anywhere)
    assert on_esp.need.ram[-1] == Line("convolution scratch, ESP-NN", 9_000, "allowed for")
    assert budget.make("arm", arm, anywhere).need == anywhere
    assert on_esp.need.on(arm) == on_esp.need.on(None) == anywhere
    assert on_esp.need.ram_bytes == boards.ram_on(esp, Sizes(anywhere.ram_bytes, 700, asked))
    # What does not fit the one for its kernels' scratch fits the other of the same size.
    said = budget.explain(on_esp, GRAPH, [], {"esp": esp, "arm": arm})
    assert "a board that holds it (arm)" in said
    assert budget.Budget.from_dict(json.loads(json.dumps(on_esp.to_dict()))) == on_esp


def test_the_boards_system_is_a_line_and_leaves_less_for_the_network() -> None:
    bare, mbed = board(1_400, 700), board(1_400, 700).model_copy(update={"system_ram": 300})
    found = budget.make("mbed", mbed, need())
    assert found.need.ram[-1] == Line("the board's system", 300, "allowed for")
    assert found.need.ram_bytes == boards.ram_on(mbed, Sizes(need().ram_bytes, 700)) == 1_600
    assert found.arena_limit_bytes == 1_000
    assert not found.fits
    assert budget.make("bare", bare, need()).need == need()
    assert budget.make("bare", bare, found.need).fits  # no system of another board goes along
    # A system counts once, on the board that has it.
    said = budget.explain(found, GRAPH, [], {"mbed": mbed, "bare": bare})
    assert "200 more than the board's 1,400" in said
    assert "a board that holds it (bare)" in said


def test_over_the_flash_it_says_so() -> None:
    found = budget.make("b", board(5000, 600), need())
    said = budget.explain(found, GRAPH, [], {})
    assert "it needs 700 bytes of flash, 100 more than the board's 600; the model takes 500" in said
    assert "of RAM" not in said


def test_the_table_says_of_each_line_how_it_is_known_and_fits_80_columns() -> None:
    lines = budget.render(budget.make("b", board(900, 700), need())).splitlines()
    assert max(map(len, lines)) <= 80
    (arena_line,) = [line for line in lines if "tensor arena" in line]
    assert arena_line.split() == ["tensor", "arena", "1,200", "measured"]
    assert any("stack" in line and "allowed for" in line for line in lines)
    assert any(
        "RAM in all" in line and "1,300" in line and "400 too many" in line for line in lines
    )
    assert any("flash in all" in line and "0 left" in line for line in lines)


def test_the_table_says_where_the_front_end_is_not_counted() -> None:
    found = budget.make("b", board(5000, 5000), need())
    why = "features.n_fft is 1000, expected a power of two, since CMSIS-DSP has no other FFT"
    text = budget.render(found, why)
    assert f"The front end is not counted: {why}" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert "not counted" not in budget.render(found)


def test_a_budget_goes_through_json() -> None:
    found = budget.make("b", board(900, 700), need())
    assert budget.Budget.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_the_peak_counts_what_is_live_and_no_constant() -> None:
    operator, tensors = GRAPH.peak()
    assert (operator.name, [t.name for t in tensors]) == ("CONV_2D", ["wide", "in"])
    assert GRAPH.macs() == 800 * 9


def test_a_depthwise_convolution_has_a_mac_per_output_and_place_of_its_kernel() -> None:
    tensors = [
        Tensor("in", (1, 10, 10, 4), "INT8", False),
        Tensor("weights", (1, 5, 3, 8), "INT8", True),  # two filters for each channel
        Tensor("wide", (1, 5, 10, 8), "INT8", False),
        Tensor("pointwise", (6, 1, 1, 8), "INT8", True),
        Tensor("out", (1, 5, 10, 6), "INT8", False),
    ]
    separable = Graph(
        tensors,
        [Operator("DEPTHWISE_CONV_2D", (0, 1), (2,)), Operator("CONV_2D", (2, 3), (4,))],
        inputs=(0,),
        outputs=(4,),
    )
    assert separable.depthwise_macs() == 5 * 10 * 8 * 5 * 3
    assert separable.macs() == separable.depthwise_macs() + 5 * 10 * 6 * 8
    assert GRAPH.depthwise_macs() == 0


def test_a_tensor_whose_elements_have_no_known_size_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"tensor words is STRING, expected one of .*INT8"):
        _ = Tensor("words", (1, 3), "STRING", False).bytes


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
        arena.smallest(b"")
    assert max(tried) == arena.LARGEST
