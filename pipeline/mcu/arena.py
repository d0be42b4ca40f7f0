"""The real TFLite Micro interpreter, given a piece of memory and no more."""

import re
from dataclasses import dataclass

import numpy as np
from tflite_micro.python.tflite_micro import runtime

from pipeline.errors import ModelError
from pipeline.native import stderr_captured
from pipeline.tflite import graph

LARGEST = 1 << 28  # bytes; no microcontroller has as much
ALIGNMENT = 16  # bytes; of TFLite Micro's allocations, and so of what is worth asking for


class Micro:
    """A flatbuffer in TFLite Micro.

    Parameters
    ----------
    content : the flatbuffer
    arena_bytes : all the memory that tensors and the interpreter's own data may take
    keep_tensors : let no tensor take the place of another, so that `tensor` can read them; this
        needs an arena that holds them all

    Raises
    ------
    MemoryError
        It does not fit; the message is TFLite Micro's.
    """

    def __init__(self, content: bytes, arena_bytes: int, keep_tensors: bool = False) -> None:
        config = runtime.InterpreterConfig
        with stderr_captured() as said:
            try:
                self._interpreter = runtime.Interpreter.from_bytes(
                    content,
                    arena_size=arena_bytes,
                    intrepreter_config=config.kPreserveAllTensors
                    if keep_tensors
                    else config.kAllocationRecording,
                )
                failed = False
            except RuntimeError:
                failed = True
        if failed:
            raise MemoryError(" ".join(said.text.split()))

    def run(self, x: np.ndarray) -> np.ndarray:
        """int8 outputs [shape=(clips, classes)] of int8 inputs [shape=(clips, frames, bins, 1)]."""
        outputs = []
        for clip in x:
            self._interpreter.set_input(clip[np.newaxis], 0)
            self._interpreter.invoke()
            outputs.append(self._interpreter.get_output(0)[0].copy())
        return np.array(outputs)

    def tensor(self, number: int) -> np.ndarray:
        """A tensor of the graph after the last clip that was run."""
        return np.asarray(self._interpreter.GetTensor(number, 0)["tensor_data"])

    def allocations(self) -> dict[str, int]:
        """Bytes of the arena by what they hold, as TFLite Micro's recording allocator counts them."""
        with stderr_captured() as said:
            self._interpreter.print_allocations()
        parts = {
            name: int(used) for name, used in re.findall(r"'([^']+)' used (\d+) bytes", said.text)
        }
        totals = dict(re.findall(r"Arena allocation (\w+) (\d+) bytes", said.text))
        return {
            "total": int(totals["total"]),
            "activations": int(totals["head"]),
            "persistent": int(totals["tail"]),
            **parts,
        }


@dataclass(frozen=True)
class Arena:
    """The smallest arena in which a model allocates and runs, and what it holds, in bytes."""

    bytes: int
    parts: dict[str, int]


def allocations(content: bytes) -> dict[str, int]:
    """What a model allocates, in bytes by what they hold, where memory is ample.

    Raises
    ------
    ModelError
        No arena is enough: TFLite Micro lacks an operator, say.
    """
    try:
        return Micro(content, LARGEST).allocations()
    except MemoryError as error:
        raise ModelError(f"TFLite Micro cannot run the model: {error}") from None


def smallest(content: bytes) -> Arena:
    """The smallest arena for an int8 model, looked for upwards from what it allocates in an ample one.

    Planning takes some more for a moment, so that the sum is not always enough. Below the sum no
    size is tried: some of TFLite Micro's kernels do not survive a failing allocation, and the
    process ends with them. Each size that is tried is a new interpreter; the one found also runs.

    Raises
    ------
    ModelError
        No size is enough: TFLite Micro lacks an operator, say.
    """
    parts = allocations(content)
    # In units of ALIGNMENT; low fails, high works once the first loop is done.
    low = parts["total"] // ALIGNMENT - 1
    high, step = low + 1, 1
    while not _works(content, high * ALIGNMENT):
        low, high, step = high, high + step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        if _works(content, middle * ALIGNMENT):
            high = middle
        else:
            low = middle
    read = graph.read(content)
    silence = np.zeros(read.tensors[read.inputs[0]].shape, np.int8)
    Micro(content, high * ALIGNMENT).run(silence)
    return Arena(high * ALIGNMENT, parts)


def _works(content: bytes, arena_bytes: int) -> bool:
    try:
        Micro(content, arena_bytes)
    except MemoryError:
        return False
    return True
