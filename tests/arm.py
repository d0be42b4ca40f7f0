"""What the bundle's C files come to on a processor, by Arm's own compiler."""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.mcu import cores

COMPILER = "arm-none-eabi-gcc"
SIZE = "arm-none-eabi-size"
CORES = ("Cortex-M0+", "Cortex-M4F", "Cortex-M7")
WARNINGS = (
    "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """Bytes of an object file: code and constants, initialised variables, other variables."""

    text: int
    data: int
    bss: int


def flags(core: str) -> list[str]:
    """GCC's, for a core of the package's table."""
    return cores.load()[core].flags


def sizes(folder: Path, core: str, options: Sequence[str] = ()) -> dict[str, Size]:
    """Compile every C file of the bundle but its test, optimised for size, without a warning.

    Parameters
    ----------
    folder : of the bundle
    core : a name in the package's table
    options : further ones of the compiler, `-DSERNET_KEEP_AUDIO` say

    Returns
    -------
    dict of Size, by the name of the file without its suffix

    Raises
    ------
    subprocess.CalledProcessError
        The compiler found something to say; `stderr` holds what.
    """
    sources = sorted(file for file in folder.glob("*.c") if file.name != "host_test.c")
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for source in sources:
            object_file = Path(scratch) / f"{source.stem}.o"
            subprocess.run(
                [COMPILER, *flags(core), "-Os", *WARNINGS, *options, "-c", str(source), "-o", str(object_file)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            listed = subprocess.run(
                [SIZE, str(object_file)], check=True, capture_output=True, text=True
            ).stdout.splitlines()
            text, data, bss = map(int, listed[1].split()[:3])
            found[source.stem] = Size(text, data, bss)
    return found
