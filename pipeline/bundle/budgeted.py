"""What `evaluate` found that the model takes, as far as the bundle says it again."""

from dataclasses import dataclass
from typing import Any

from pipeline.errors import ModelError
from pipeline.mcu.arena import ALIGNMENT

# How the budget's line begins that says what optimized kernels take; the rest names the kernels.
SCRATCH = "convolution scratch"


@dataclass(frozen=True)
class Budgeted:
    """The model to flash, as its budget has it.

    arena_bytes : the smallest arena in which TFLite Micro's reference kernels run it
    scratch_bytes : what optimized kernels (CMSIS-NN, ESP-NN) take at a time from the same arena, for
        the convolution with the largest filter
    """

    arena_bytes: int
    scratch_bytes: int

    @staticmethod
    def read(evaluation: Any, name: str) -> "Budgeted":
        """Of what `evaluate` wrote to the file `name`.

        Raises
        ------
        ModelError
            It lacks what the bundle has to say.
        """
        try:
            need = evaluation["budget"]["need"]
            arena, *beside = need["ram"]
            scratch = [line["bytes"] for line in beside if line["name"].startswith(SCRATCH)]
            if not scratch:
                raise KeyError(SCRATCH)
            return Budgeted(
                arena_bytes=arena["bytes"],
                scratch_bytes=-(-sum(scratch) // ALIGNMENT) * ALIGNMENT,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ModelError(
                f"{name} lacks what `evaluate` writes of the budget ({problem}): run `dvc repro`"
            ) from None
