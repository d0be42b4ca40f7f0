"""What the bundle's C files come to on a processor, by Arm's own compiler."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import MissingError

COMPILER = "arm-none-eabi-gcc"
SIZE = "arm-none-eabi-size"
CPUS = {
    "cortex-m0plus": ("-mcpu=cortex-m0plus", "-mthumb"),
    "cortex-m4": ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "cortex-m7": ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
}
WARNINGS = (
    "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """Bytes of an object file: code and constants, initialised variables, other variables."""

    text: int
    data: int
    bss: int


def sizes(folder: Path, cpu: str, options: Sequence[str] = ()) -> dict[str, Size]:
    """Compile every C file of the bundle but its tests, optimised for size, without a warning.

    Parameters
    ----------
    folder : of the bundle
    cpu : one of CPUS
    options : further ones of the compiler, `-DSERNET_KEEP_AUDIO` say

    Returns
    -------
    dict of Size, by the name of the file without its suffix

    Raises
    ------
    MissingError
        Arm's compiler is not installed.
    subprocess.CalledProcessError
        It found something to say; `stderr` holds what.
    """
    if not (shutil.which(COMPILER) and shutil.which(SIZE)):
        raise MissingError(
            f"no {COMPILER}: install it (Debian: gcc-arm-none-eabi and libnewlib-arm-none-eabi)"
        )
    tests = {"sernet_golden.c", "host_test.c"}
    sources = sorted(file for file in folder.glob("*.c") if file.name not in tests)
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for source in sources:
            object_file = Path(scratch) / f"{source.stem}.o"
            flags = (*CPUS[cpu], "-Os", *WARNINGS, *options)
            subprocess.run(
                [COMPILER, *flags, "-c", str(source), "-o", str(object_file)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            listed = subprocess.run(
                [SIZE, str(object_file)], check=True, capture_output=True, text=True
            ).stdout.splitlines()
            text, data, bss = map(int, listed[1].split()[:3])
            found[source.stem] = Size(text, data, bss)
    return found
