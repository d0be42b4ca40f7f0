"""The real TFLite Micro interpreter, given a piece of memory and no more."""

import re
from dataclasses import dataclass

import numpy as np
from tflite_micro.python.tflite_micro import runtime

from pipeline.errors import ModelError
from pipeline.native import stderr_captured

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


def smallest(content: bytes, x: np.ndarray) -> Arena:
    """Find it by bisection, with `x` [shape=(frames, bins, 1)], int8, as the clip to run.

    Every size that is tried is a new interpreter that allocates; the one found also runs.

    Raises
    ------
    ModelError
        No size is enough: TFLite Micro lacks an operator, say.
    """
    ample = 1 << 20
    while True:
        try:
            micro = Micro(content, ample)
            break
        except MemoryError as error:
            if ample >= LARGEST:
                raise ModelError(f"TFLite Micro cannot run the model: {error}") from None
            ample *= 2
    parts = micro.allocations()
    # In units of ALIGNMENT; low fails, high works. Far below what is needed TFLite Micro may crash
    # rather than fail: it does not check all of its temporary memory.
    low, high = parts["persistent"] // ALIGNMENT, -(-ample // ALIGNMENT)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            Micro(content, middle * ALIGNMENT)
            high = middle
        except MemoryError:
            low = middle
    Micro(content, high * ALIGNMENT).run(x[np.newaxis])
    return Arena(high * ALIGNMENT, parts)
