"""What `evaluate` found of the model to flash, as far as the bundle says it again."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline import paths
from pipeline.errors import ModelError
from pipeline.mcu.arena import ALIGNMENT
from pipeline.mcu.budget import SCRATCH, SYSTEM


@dataclass(frozen=True)
class Budgeted:
    """The model to flash, as its budget has it.

    sha256 : of the flatbuffer as converted, `plain`, and of the one to flash, `deployed`
    no_front_end : why the device lacks the features, so that there can be no bundle; else empty
    streams : the network can be taken apart into parts that run as frames arrive
    arena_bytes : the smallest arena in which TFLite Micro's reference kernels run it
    kernels : the optimized ones that the board is budgeted with, by their library's name
    scratch_bytes : what these take from the same arena, one convolution at a time, at most
    stream_scratch_bytes : the same of the network in parts; 0 where it does not stream
    variant : plain or tiled
    board : its name
    level : how the bundle's program for the whole network finds a clip's level, if it needs one
    ram_bytes, flash_bytes : all that the budget counts
    ram_limit_bytes, flash_limit_bytes : what the board has
    allowed_bytes : of RAM beside the bundle's own, for the runtime outside the arena and the stack
    system_bytes : of RAM that the system takes which the board usually runs; 0: none is counted
    """

    sha256: dict[str, str]
    no_front_end: str
    streams: bool
    arena_bytes: int
    kernels: str
    scratch_bytes: int
    stream_scratch_bytes: int
    variant: str
    board: str
    level: Literal["whole", "deferred"]
    ram_bytes: int
    flash_bytes: int
    ram_limit_bytes: int
    flash_limit_bytes: int
    allowed_bytes: int
    system_bytes: int

    @staticmethod
    def of(evaluation: Any) -> "Budgeted":
        """Of the content of `evaluation.json`.

        Raises
        ------
        ModelError
            It lacks what the bundle has to say.
        """
        try:
            budget = evaluation["budget"]
            need = budget["need"]
            arena, *beside = need["ram"]
            scratch = [line for line in beside if line["name"].startswith(SCRATCH)]
            if not scratch:
                raise KeyError(SCRATCH.rstrip(", "))
            kernels = scratch[0]["name"].removeprefix(SCRATCH)
            streaming = evaluation["variants"]["streaming"]
            streams = "refused" not in streaming
            return Budgeted(
                sha256={name: evaluation["sha256"][name] for name in ("plain", "deployed")},
                no_front_end=evaluation["no_front_end"],
                streams=streams,
                arena_bytes=arena["bytes"],
                kernels=kernels,
                scratch_bytes=_aligned(scratch[0]["bytes"]),
                stream_scratch_bytes=_aligned(streaming["scratch"][kernels]) if streams else 0,
                variant=need["variant"],
                board=budget["board_name"],
                # The whole network runs when the clip has ended: no row is levelled by less than all
                # of it, which `running` would mean.
                level="whole" if budget["level"] == "whole" else "deferred",
                ram_bytes=sum(line["bytes"] for line in need["ram"]),
                flash_bytes=sum(line["bytes"] for line in need["flash"]),
                ram_limit_bytes=budget["ram_limit_bytes"],
                flash_limit_bytes=budget["flash_limit_bytes"],
                allowed_bytes=sum(
                    line["bytes"]
                    for line in beside
                    if line["how"] == "allowed for"
                    and line["name"] != SYSTEM
                    and not line["name"].startswith(SCRATCH)
                ),
                system_bytes=sum(line["bytes"] for line in beside if line["name"] == SYSTEM),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ModelError(
                f"{paths.EVALUATION} lacks what `evaluate` writes there ({problem}): run `dvc repro`"
            ) from None

    @property
    def verdict(self) -> str:
        """Whether the model fits the board, and by how much it does not."""
        over = {
            "RAM": self.ram_bytes - self.ram_limit_bytes,
            "flash": self.flash_bytes - self.flash_limit_bytes,
        }
        too_many = [f"{by:,} bytes of {what}" for what, by in over.items() if by > 0]
        return f"does not fit: {' and '.join(too_many)} too many" if too_many else "fits"

    def summary(self, levelled: bool) -> str:
        """The board, and whether the model fits, for a terminal.

        Parameters
        ----------
        levelled : there are features that wait for a clip's level
        """
        level = f", level {self.level}," if levelled else ""
        return (
            f"{self.variant}{level} on {self.board} with {self.ram_limit_bytes:,} bytes of RAM "
            f"and {self.flash_limit_bytes:,} of flash: {self.verdict}"
        )

    def left(self, ram_bytes: int) -> int:
        """Bytes of RAM that `ram_bytes` of the bundle's own leave, beside all that is allowed for."""
        return self.ram_limit_bytes - ram_bytes - self.allowed_bytes - self.system_bytes

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
                f"{paths.EVALUATION} is of another model: {file} has the SHA-256 {found[:12]}..., "
                f"expected {self.sha256[name][:12]}...: run `dvc checkout` or `dvc repro`"
            )


def _aligned(size: int) -> int:
    """Bytes of an arena that hold `size`, and after which what follows is aligned again."""
    return -(-size // ALIGNMENT) * ALIGNMENT
