"""A model on an Ethos-U, as Arm's compiler Vela compiles it: memory, and what stays on the CPU.

Vela also estimates cycles, and says itself that these are not accurate: they are not read here.
"""

import csv
import importlib.util
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import ModelError, SernetError
from pipeline.mcu import COLUMNS, boards
from pipeline.tflite import flatbuffer, graph

# A system of Vela's own table for each family: microcontrollers, with SRAM for the activations and
# flash for the weights. Without one Vela takes a system with DRAM for U65 and U85.
SYSTEMS = {
    "ethos-u55": "Ethos_U55_High_End_Embedded",
    "ethos-u65": "Ethos_U65_Embedded",
    "ethos-u85": "Ethos_U85_SYS_Flash_High",
}
MEMORY_MODE = "Shared_Sram"
ACCELERATORS = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")


@dataclass(frozen=True)
class Compiled:
    """What Vela made of a model.

    accelerator, system, optimise : by Vela's names
    sram_bytes : of activations and the cache of weights
    flash_bytes : of weights and commands, which the NPU reads
    file_bytes : of the compiled flatbuffer, which holds them: what is flashed
    cpu_operators : what is left to the CPU, by operator; empty when the NPU runs all
    """

    accelerator: str
    system: str
    optimise: str
    sram_bytes: int
    flash_bytes: int
    file_bytes: int
    cpu_operators: dict[str, int]


def accelerators() -> list[str]:
    """Those that the boards have, the user's too, and one of each other family; by Vela's names."""
    of_boards = [board.npu for board in boards.load().values() if board.npu]
    return list(dict.fromkeys([*ACCELERATORS, *of_boards]))


def available() -> bool:
    """Whether Vela is installed."""
    return importlib.util.find_spec("ethosu") is not None


def compiled(
    content: bytes,
    accelerator: str = ACCELERATORS[0],
    optimise: Literal["Size", "Performance"] = "Size",
) -> Compiled:
    """Compile an int8 flatbuffer for an accelerator.

    Parameters
    ----------
    content : the flatbuffer
    accelerator : by Vela's name: the family, and how many MACs it does a cycle
    optimise : Vela's strategy, for less SRAM or for fewer cycles

    Raises
    ------
    SernetError
        Vela is not installed.
    ModelError
        It is not a TFLite model, or Vela does not compile it.
    """
    flatbuffer.load(content)  # else Vela's message stands for what is no model at all
    if not available():
        raise SernetError(
            "Arm's compiler Vela is not installed, which Ethos-U figures come from: pip install ethos-u-vela"
        )
    system = SYSTEMS.get(accelerator.rpartition("-")[0])
    if system is None:
        raise ModelError(
            f"the accelerator is {accelerator!r}, expected one such as {', '.join(ACCELERATORS)}"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        done = subprocess.run(
            [
                sys.executable, "-m", "ethosu.vela", "model.tflite", "--output-dir", "out",
                "--accelerator-config", accelerator, "--optimise", optimise,
                "--config", "Arm/vela.ini", "--system-config", system,
                "--memory-mode", MEMORY_MODE,
            ],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        results = [*folder.glob("out/*_vela.tflite")]
        if done.returncode or not results:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            raise ModelError(f"Vela does not compile the model for {accelerator}: {said[-1]}")
        made = results[0].read_bytes()
        (summary,) = folder.glob("out/*_summary_*.csv")
        with summary.open(newline="") as file:
            (row,) = csv.DictReader(file)
    # In the compiled graph one custom operator stands for all that the NPU runs.
    left = graph.read(made).histogram()
    left.pop("CUSTOM", None)
    return Compiled(
        accelerator=accelerator,
        system=system,
        optimise=optimise,
        sram_bytes=_bytes(row["sram_memory_used"]),
        flash_bytes=_bytes(row["off_chip_flash_memory_used"]),
        file_bytes=len(made),
        cpu_operators=left,
    )


def table(results: list[Compiled]) -> str:
    """The results for a terminal of 80 columns."""
    lines = [
        f"{'accelerator':15} {'SRAM bytes':>11} {'flash bytes':>11} {'file bytes':>11}  on the CPU"
    ]
    for found in results:
        left = ", ".join(f"{name} ({n})" for name, n in found.cpu_operators.items()) or "nothing"
        head = f"{found.accelerator:15} {found.sram_bytes:11,} {found.flash_bytes:11,} {found.file_bytes:11,}  "
        lines += textwrap.wrap(
            left, COLUMNS, initial_indent=head, subsequent_indent=" " * len(head)
        )
    systems = ", ".join(dict.fromkeys(found.system for found in results))
    strategies = ", ".join(dict.fromkeys(found.optimise for found in results))
    note = f"By Arm's Vela, optimised for {strategies}, memory mode {MEMORY_MODE}, systems {systems}. Its cycle counts are not to be taken as accurate, Arm says, so none are shown."
    return "\n".join([*lines, "", *textwrap.wrap(note, COLUMNS)])


def _bytes(kibibytes: str) -> int:
    """Vela's table counts in KiB, with all the digits of the bytes."""
    return round(1024 * float(kibibytes))
