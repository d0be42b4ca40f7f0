"""The ways to run a model on a board, and all that each takes of it.

`plain` is the flatbuffer as converted, `tiled` the same bits slab by slab, `streaming` the same bits
in parts as frames arrive.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.audio import spectra
from pipeline.errors import ModelError, ParamsError
from pipeline.mcu import cmsis, equality, front_end, scratch, stream, tiling
from pipeline.mcu.boards import Board
from pipeline.mcu.budget import Line, Need, scratch_line
from pipeline.mcu.cores import CMSIS_NN
from pipeline.mcu.front_end import Mode
from pipeline.mcu.tiling import Tiled
from pipeline.params import Evaluate, Features
from pipeline.tflite import graph, streaming
from pipeline.tflite.graph import Graph
from pipeline.tflite.int8 import Int8Model
from pipeline.tflite.streaming import Streamed


@dataclass(frozen=True)
class Surroundings:
    """What takes memory beside the network: the front end, and allowances of params.yaml."""

    p: Evaluate
    features: Features
    input_len: float
    sample_rate: int

    @property
    def no_front_end(self) -> str:
        """Why the device does not have these features; then only the network is counted."""
        try:
            cmsis.check(self.features)
        except ParamsError as problem:
            return str(problem)
        return ""

    def mode(self, streams: bool) -> Mode:
        """How the program that the bundle has for a variant finds a clip's level.

        The whole network is run when the clip has ended, when its level is known: no row is levelled by
        less. Of a stream each row has to be final at once. With nothing to level nothing waits.
        """
        if streams or not cmsis.levelled(self.features):
            return "running"
        return "whole" if self.p.level == "whole" else "deferred"

    def ram(self, streams: bool, cmsis_nn: int) -> tuple[Line, ...]:
        """Lines beside the network's; `cmsis_nn` bytes are the scratch memory of its kernels."""
        lines = []
        if not self.no_front_end:
            n = round(self.input_len * self.sample_rate)
            frames = spectra.frames(n, self.features)
            levelled = cmsis.levelled(self.features)
            used = front_end.ram(
                self.mode(streams), n, frames, self.features.n_fft, levelled, with_cmsis=True
            )
            audio = used.pop("audio")
            lines = [
                Line("audio buffer", audio, "computed"),
                Line("front end", sum(used.values()), "computed"),
            ]
        return (
            *lines,
            scratch_line(CMSIS_NN, cmsis_nn),
            Line("runtime", self.p.runtime_ram_bytes, "allowed for"),
            Line("stack", self.p.stack_bytes, "allowed for"),
        )

    def flash(self) -> tuple[Line, ...]:
        code = Line("code of runtime and front end", self.p.runtime_flash_bytes, "allowed for")
        if self.no_front_end:
            return (code,)
        tables = cmsis.flash(self.sample_rate, self.features)
        return (Line("front end tables", sum(tables.values()), "computed"), code)

    def need(self, variant: str, network: int, model: int, *graphs: Graph) -> Need:
        """What a variant takes in all, on a board that is not known.

        Parameters
        ----------
        network : bytes of RAM that the network was measured to need
        model : bytes of flash of its flatbuffers
        graphs : that run, one at a time
        """
        streams = variant == "streaming"
        arena = Line("tensor arena", network, "measured")
        if streams:
            arena = Line("network: parts and line buffers", network, "computed")
        asked = scratch.largest(graphs)
        return Need(
            variant,
            (arena, *self.ram(streams, asked[CMSIS_NN])),
            (Line("model", model, "measured"), *self.flash()),
            scratch=asked,
        )


@dataclass(frozen=True)
class Variants:
    """What was measured of one model.

    deployed : the model to flash, tiled where that was asked for or needed
    tiled : the tiled model; where the board needs none, what the smallest known board would get
    streamed : the model in parts, and the memory that these take; None where `refused` says why not
    needs : of each variant in all, by its name
    """

    deployed: Tiled
    tiled: Tiled | None
    streamed: Streamed | None
    stream_memory: stream.Memory | None
    refused: str
    needs: dict[str, Need]

    @property
    def need(self) -> Need:
        """Of the model to flash."""
        return self.needs["tiled" if self.deployed.plan else "plain"]

    def to_dict(self) -> dict[str, Any]:
        """For a JSON file: of each variant its bytes, multiply-accumulates and slabs or parts."""
        table: dict[str, Any] = {
            name: {
                **asdict(need),
                "arena_bytes": need.arena_bytes,
                "ram_bytes": need.ram_bytes,
                "flash_bytes": need.flash_bytes,
                "macs": self.deployed.plain.macs,
            }
            for name, need in self.needs.items()
        }
        if self.tiled:
            table["tiled"].update(macs=self.tiled.costs.macs, slabs=self.tiled.slabs)
        if self.stream_memory:
            table["streaming"].update(
                macs=self.stream_memory.macs, memory=self.stream_memory.to_dict()
            )
        else:
            table["streaming"] = {"refused": self.refused}
        return table


def measure(content: bytes, board: Board, around: Surroundings, least_ram: int) -> Variants:
    """Tile a plain int8 model as `evaluate.tiling` says, divide it into parts, and measure all.

    What is left for a tiled model's arena is reckoned with the scratch memory of the plain one, which
    is as much or more.

    Parameters
    ----------
    least_ram : that the smallest board that is known leaves to a program, in bytes

    Raises
    ------
    ModelError
        Tiling was asked for and the model cannot be tiled.
    """
    read = graph.read(content)
    beside = around.need("plain", 0, len(content), read)
    how = around.p.tiling
    deployed = _tiled(content, how, board.ram - beside.on(board).ram_bytes)
    tiled = deployed
    if not deployed.plan and how != "off":
        tiled = _tiled(content, how, least_ram - beside.ram_bytes)
    needs = {"plain": around.need("plain", deployed.plain.arena.bytes, len(content), read)}
    if tiled.plan:
        arena = tiled.costs.arena.bytes
        rewritten = graph.read(tiled.content)
        needs["tiled"] = around.need("tiled", arena, len(tiled.content), rewritten)
    streamed = memory = None
    refused = ""
    try:
        streamed = streaming.split(content)
    except ModelError as problem:
        refused = str(problem)
    else:
        memory = stream.memory(streamed)
        parts = [graph.read(each) for each in (*streamed.parts, streamed.head)]
        needs["streaming"] = around.need("streaming", memory.total, streamed.flash_bytes, *parts)
    return Variants(deployed, tiled if tiled.plan else None, streamed, memory, refused, needs)


def check(content: bytes, measured: Variants, x: np.ndarray) -> dict[str, Any]:
    """Hold the tiled model and the model in parts against the plain one.

    Parameters
    ----------
    content : the plain model
    x : features of the clips to run [shape=(clips, frames, bins, 1)]

    Raises
    ------
    ModelError
        One of them differs in a bit.
    """
    checked: dict[str, Any] = {"clips": len(x)}
    if measured.tiled:
        arena = measured.tiled.costs.arena.bytes
        tiled = equality.difference(content, measured.tiled.content, x, arena)
        checked["tiled"] = asdict(tiled)
        if tiled.largest:
            raise ModelError(f"the tiled model differs from the plain one: {tiled}")
    if measured.streamed:
        in_parts = stream.compare(content, measured.streamed, Int8Model(content).quantized(x))
        checked["streaming"] = asdict(in_parts)
        if in_parts.outputs or in_parts.rows:
            raise ModelError(f"the model in parts differs from the plain one: {in_parts}")
    return checked


def _tiled(content: bytes, how: str | int, ram_bytes: int) -> Tiled:
    if how == "off":
        return tiling.untouched(content)
    if isinstance(how, int):
        return tiling.with_slabs(content, how)
    try:
        return tiling.auto(content, ram_bytes)
    except ModelError:
        return tiling.untouched(content)  # that it does not fit is what the budget then says
