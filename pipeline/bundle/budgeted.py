"""What `evaluate` found of the model to flash, as far as the bundle says it again."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import ModelError
from pipeline.mcu.arena import ALIGNMENT

# How the budget's line begins that says what optimized kernels take; the rest names the kernels.
SCRATCH = "convolution scratch"


@dataclass(frozen=True)
class Budgeted:
    """The model to flash, as its budget has it.

    sha256 : of the flatbuffer as converted, `plain`, and of the one to flash, `deployed`
    no_front_end : why the device lacks the features, so that there can be no bundle; else empty
    streams : the network can be taken apart into parts that run as frames arrive
    arena_bytes : the smallest arena in which TFLite Micro's reference kernels run it
    scratch_bytes : what optimized kernels (CMSIS-NN, ESP-NN) take at a time from the same arena, for
        the convolution with the largest filter
    """

    sha256: dict[str, str]
    no_front_end: str
    streams: bool
    arena_bytes: int
    scratch_bytes: int

    @staticmethod
    def of(evaluation: Any) -> "Budgeted":
        """Of the content of `evaluation.json`.

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
                sha256={name: evaluation["sha256"][name] for name in ("plain", "deployed")},
                no_front_end=evaluation["no_front_end"],
                streams="refused" not in evaluation["variants"]["streaming"],
                arena_bytes=arena["bytes"],
                scratch_bytes=-(-sum(scratch) // ALIGNMENT) * ALIGNMENT,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ModelError(
                f"{paths.EVALUATION} lacks what `evaluate` writes there ({problem}): run `dvc repro`"
            ) from None

    def check(self, name: str, content: bytes, file: Path) -> None:
        """Hold `content`, which `file` holds, against the model `name` of `sha256`.

        Raises
        ------
        ModelError
            The figures are of another model.
        """
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256[name]:
            raise ModelError(
                f"{paths.EVALUATION} is of another model: {file} has the SHA-256 {found[:12]}…, "
                f"expected {self.sha256[name][:12]}…: run `dvc checkout` or `dvc repro`"
            )
