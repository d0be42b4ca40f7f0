"""The table of boards: complete, extensible by a file, and strict about what stands in that."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import ParamsError
from pipeline.mcu import boards, cores
from pipeline.mcu.boards import Board, Sizes

MINE = """
mine:
  name: My board
  core: RISC-V
  mhz: 100
  ram: 1000
  flash: 2000
  source: its schematic
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "boards.yaml"
    file.write_text(MINE)
    return file


def board(ram: int, flash: int, core: str = "Cortex-M7") -> Board:
    return Board(name="A board", core=core, mhz=100, ram=ram, flash=flash, source="")


def test_every_board_says_where_its_figures_are_from_and_has_a_known_core(tmp_path: Path) -> None:
    known = cores.load()
    for key, entry in boards.load(tmp_path / "none").items():
        assert entry.core in known, key
        assert len(entry.source) > 10, key
        assert entry.ram_total is None or entry.ram_total > entry.ram, key
        assert entry.system_ram < entry.ram, key


def test_banks_that_adjoin_are_one_region(tmp_path: Path) -> None:
    sram1, sram3, sram3_bytes = 0x20000000, 0x20040000, 384 * 1024  # SRAM2 fills what is between
    board = boards.load(tmp_path / "none")["nucleo-l4r5zi"]
    assert board.ram == sram3 + sram3_bytes - sram1
    assert board.ram_total is None


def test_an_own_board_stands_beside_the_packages(own: Path, tmp_path: Path) -> None:
    package = boards.load(tmp_path / "none")
    both = boards.load(own)
    assert both.keys() - package.keys() == {"mine"}
    assert boards.get("mine", own).ram == 1000
    with pytest.raises(
        ParamsError, match=r"expected one of nano33ble.*, or an entry of your own in"
    ):
        boards.get("mine", tmp_path / "none")


def test_the_own_file_is_looked_for_in_the_folder_of_the_project(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    assert "mine" in boards.load()


def test_an_own_board_takes_the_place_of_the_packages(own: Path) -> None:
    own.write_text(MINE.replace("mine:", "stm32h743:"))
    assert boards.get("stm32h743", own).name == "My board"


@pytest.mark.parametrize("text", ["", "# mine:\n#   name: My board\n"])
def test_a_file_of_comments_adds_nothing(own: Path, tmp_path: Path, text: str) -> None:
    own.write_text(text)
    assert boards.load(own) == boards.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "  ram: 1000\n",
            "",
            r"mine\.ram: missing.*A board has name, core, mhz, ram, flash, source",
        ),
        ("ram: 1000", "ram: 256KB", r"mine\.ram: input should be a valid integer, found '256KB'"),
        (
            "ram: 1000",
            "system_ram: -1\n  ram: 1000",
            r"mine\.system_ram: input should be greater than or equal to 0, found -1",
        ),
        ("ram: 1000", "ram: 0", r"mine\.ram: input should be greater than 0, found 0"),
        ("ram:", "sram:", r"mine\.ram: missing; mine\.sram: unknown entry"),
        ("core: RISC-V", "core: ''", r"mine\.core: string should have at least 1 character"),
        ("mine:", "mine: 3 #", r"not valid YAML"),
        ("name: My board", "name: [", r"not valid YAML"),
        (MINE, "mine", r"expected a table of boards by name, found 'mine'"),
        (MINE, "mine: 3", r"mine: input should be .*, found 3"),
    ],
)
def test_an_ill_formed_entry_is_said_in_one_line(own: Path, old: str, new: str, said: str) -> None:
    assert old in MINE
    own.write_text(MINE.replace(old, new))
    with pytest.raises(ParamsError, match=said) as error:
        boards.load(own)
    assert str(own) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_utf_8_is_said_in_one_line(own: Path) -> None:
    own.write_bytes(MINE.replace("My", "Für").encode("latin-1"))
    with pytest.raises(ParamsError, match=r"is not UTF-8 \(.*\): save it as UTF-8") as error:
        boards.load(own)
    assert str(own) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_limits_themselves_fit_and_a_byte_less_does_not() -> None:
    assert boards.fits(board(100, 200), Sizes(100, 200))
    assert not boards.fits(board(99, 200), Sizes(100, 200))
    assert not boards.fits(board(100, 199), Sizes(100, 200))


def test_a_board_of_other_kernels_holds_what_fits_with_their_scratch() -> None:
    esp = board(300_000, 10_000, "Xtensa LX7")
    scratch = {"CMSIS-NN": 5_000, "ESP-NN": 205_000}
    assert boards.ram_on(esp, Sizes(100_000, 10_000, scratch)) == 300_000
    assert boards.fits(esp, Sizes(100_000, 10_000, scratch))
    assert not boards.fits(esp, Sizes(100_001, 10_000, scratch))
    # On a core with CMSIS-NN, or of which nothing is known, the same need is what it says.
    for core in ("Cortex-M7", "RISC-V"):
        assert boards.fits(board(100_000, 10_000, core), Sizes(100_000, 10_000, scratch))


def test_what_the_boards_system_takes_is_not_the_programs(own: Path) -> None:
    own.write_text(MINE.replace("ram: 1000", "ram: 1000\n  system_ram: 400"))
    mine = boards.get("mine", own)
    assert boards.fits(mine, Sizes(600, 2000))
    assert not boards.fits(mine, Sizes(601, 2000))
    assert boards.ram_on(mine, Sizes(600, 2000)) == 1000
    text = boards.table({"mine": mine, "bare": board(1000, 2000)}, {"plain": Sizes(601, 2000)})
    assert [line.split()[-1] for line in text.splitlines()[1:3]] == ["RAM", "fits"]
    assert "a system takes, in bytes: mine 400." in " ".join(text.split())
    assert "system" not in boards.table({"bare": board(1, 1)}, {"plain": Sizes(1, 1)})


def test_a_board_whose_kernels_scratch_is_not_known_is_not_said_to_hold_anything() -> None:
    esp, arm = board(300_000, 10_000, "Xtensa LX7"), board(300_000, 10_000)
    assert not boards.fits(esp, Sizes(1, 1))
    assert boards.fits(arm, Sizes(1, 1))
    text = boards.table({"esp": esp, "arm": arm}, {"plain": Sizes(1, 1)})
    assert text.splitlines()[1].endswith("not known")
    assert text.splitlines()[2].endswith("fits")
    assert "the scratch memory of ESP-NN was not kept, run `dvc repro`" in " ".join(text.split())
    known = boards.table({"esp": esp}, {"plain": Sizes(1, 1, {"CMSIS-NN": 1, "ESP-NN": 77_777})})
    assert "with ESP-NN it is: plain 77,777." in " ".join(known.split())
    assert "not known" not in known
    assert "ESP-NN" not in boards.table({"arm": arm}, {"plain": Sizes(1, 1)})


def test_the_table_says_what_is_too_small() -> None:
    table = {
        "small": board(10_000, 10_000),
        "ram": board(90_000, 10_000),
        "big": board(1 << 20, 1 << 20),
    }
    text = boards.table(
        table, {"plain": Sizes(500_000, 20_000), "streaming": Sizes(50_000, 10_000)}
    )
    verdicts = {line.split()[0]: line.split()[-2:] for line in text.splitlines()[1:4]}
    assert verdicts == {"small": ["both", "RAM"], "ram": ["both", "fits"], "big": ["fits", "fits"]}
    assert "plain 500,000 bytes of RAM and 20,000 of flash" in " ".join(text.split())
    assert (
        "flash"
        in boards.table({"b": board(10**6, 10**3)}, {"tiled": Sizes(10**5, 10**4)}).splitlines()[1]
    )


def test_the_table_fits_a_terminal(tmp_path: Path) -> None:
    table = boards.load(tmp_path / "none")
    variants = dict.fromkeys(("plain", "tiled", "streaming"), Sizes(10**6, 10**6))
    scratch = {"CMSIS-NN": 5_000, "ESP-NN": 200_000}
    known = {name: Sizes(10**6, 10**6, scratch) for name in variants}
    for text in (boards.table(table), *(boards.table(table, each) for each in (variants, known))):
        lines = text.splitlines()
        assert max(map(len, lines)) <= 80
        assert {line.split()[0] for line in lines if line} >= set(table)
        assert all(line == line.rstrip() for line in lines)


GCC = shutil.which("arm-none-eabi-gcc")


@pytest.mark.skipif(GCC is None, reason="arm-none-eabi-gcc is not installed")
@pytest.mark.parametrize(
    "core", sorted({board.core for board in boards.load(Path("none")).values()})
)
def test_gcc_takes_the_flags_of_every_core(core: str, tmp_path: Path) -> None:
    flags = cores.load()[core].flags
    if not core.startswith("Cortex"):
        assert flags == []  # another compiler's
        return
    source = tmp_path / "f.c"
    source.write_text("float f(float x, float y) { return x * y; }\n")
    compiled = subprocess.run(
        [str(GCC), *flags, "-O2", "-S", "-o", "-", str(source)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    # Single precision in hardware wherever the core has it.
    assert ("vmul.f32" in compiled) == (core != "Cortex-M0+")
