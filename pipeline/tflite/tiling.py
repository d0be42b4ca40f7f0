"""Tiling: the early blocks of an int8 model run slab by slab over time.

The tensors of the first blocks are the largest and are needed for a moment only. Run on a few rows
at a time they never exist whole; the weights are shared, and the result is one plain flatbuffer that
equals the original bit for bit. The idea is the patch-based inference of Lin et al., MCUNetV2 (2021),
here along one axis, and by keeping rows where MCUNetV2 computes them again.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ModelError
from pipeline.mcu.arena import ALIGNMENT, LARGEST, Arena, Micro
from pipeline.tflite import graph, memory_plan, tiling_edit
from pipeline.tflite.tiling_rewrite import Rewrite
from pipeline.tflite.tiling_schedule import Plan
from pipeline.tflite.tiling_search import Estimate, Search
from pipeline.tflite.tiling_source import Source

QUICK_TRIES = 40  # of memory plans, where several graphs are compared
FINALISTS = 6  # whose memory is planned with so many tries

__all__ = ["Costs", "Plan", "Tiled", "auto", "measure", "tile", "untouched", "with_slabs"]


@dataclass(frozen=True)
class Costs:
    """What a model needs: its measured arena, multiply-accumulates, and bytes of flash."""

    arena: Arena
    macs: int
    model_bytes: int


@dataclass(frozen=True)
class Tiled:
    """A model, tiled or as it was, and what it needs beside what the plain one needs.

    `plan` is None where the model was kept as it is.
    """

    content: bytes
    plan: Plan | None
    plain: Costs
    costs: Costs

    @property
    def slabs(self) -> int:
        return self.plan.slabs if self.plan else 1

    @property
    def extra_macs(self) -> float:
        """As a fraction of the plain model's."""
        return self.costs.macs / self.plain.macs - 1

    @property
    def extra_bytes(self) -> int:
        """Bytes by which the flatbuffer grew."""
        return self.costs.model_bytes - self.plain.model_bytes

    def table(self) -> list[tuple[str, str, str]]:
        """Rows of a table: what is counted, before, after."""
        before, after = self.plain, self.costs
        parts = [("of it activations", "activations"), ("of it persistent", "persistent")]
        return [
            ("slabs", "1", str(self.slabs)),
            ("arena (bytes)", f"{before.arena.bytes:,}", f"{after.arena.bytes:,}"),
            *(
                (label, f"{before.arena.parts[name]:,}", f"{after.arena.parts[name]:,}")
                for label, name in parts
            ),
            ("flatbuffer (bytes)", f"{before.model_bytes:,}", f"{after.model_bytes:,}"),
            ("MACs", f"{before.macs:,}", f"{after.macs:,}"),
        ]


def tile(content: bytes, plan: Plan) -> bytes:
    """The tiled model, with a plan of its memory in the metadata.

    Raises
    ------
    ModelError
        The model cannot be tiled, or not by this plan.
    """
    rewrite = Rewrite(Source(content), plan)
    model = rewrite.model()
    memory_plan.attach(model, memory_plan.layout(memory_plan.lifetimes(rewrite.graph)).offsets)
    return tiling_edit.pack(model)


def measure(content: bytes) -> Costs:
    """Run a model in TFLite Micro to see what it needs.

    Raises
    ------
    ModelError
        TFLite Micro cannot run it.
    """
    read = graph.read(content)
    x = np.zeros((1, *read.tensors[read.inputs[0]].shape[1:]), np.int8)
    return Costs(_arena(content, x), read.macs(), len(content))


def _arena(content: bytes, x: np.ndarray) -> Arena:
    """The smallest arena, looked for upwards from what is allocated in an ample one.

    Planning takes some more for a moment, so that the sum is not always enough. Below the sum no
    size is tried: some of TFLite Micro's kernels do not survive a failing allocation.
    """
    try:
        parts = Micro(content, LARGEST).allocations()
    except MemoryError as error:
        raise ModelError(f"TFLite Micro cannot run the model: {error}") from None
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
    Micro(content, high * ALIGNMENT).run(x)
    return Arena(high * ALIGNMENT, parts)


def _works(content: bytes, arena_bytes: int) -> bool:
    try:
        Micro(content, arena_bytes)
    except MemoryError:
        return False
    return True


def untouched(content: bytes) -> Tiled:
    """The model as it is."""
    costs = measure(content)
    return Tiled(content, None, costs, costs)


def auto(content: bytes, ram_bytes: int) -> Tiled:
    """The model in an arena of at most `ram_bytes`, by as little work as possible.

    One that fits is kept as it is. Among the plans that fit it is the one with the fewest extra MACs,
    then with the fewest operators; where none fits, the one with the smallest arena.

    Raises
    ------
    ModelError
        The model cannot be tiled.
    """
    source = Source(content)
    plain = measure(content)
    if plain.arena.bytes <= ram_bytes:
        return Tiled(content, None, plain, plain)
    search = Search(source, plain.arena.parts["persistent"])

    def cheapest(estimate: Estimate) -> tuple[float, ...]:
        if estimate.arena_bytes > ram_bytes:
            return (1, estimate.arena_bytes, 0)
        return (0, estimate.extra_macs, estimate.operators)

    for estimate in search.best(cheapest):
        if _likely_bytes(source, estimate) <= ram_bytes:
            tiled = _tiled(content, estimate.plan, plain)
            if tiled.costs.arena.bytes <= ram_bytes:
                return tiled
    tiled = _smallest(source, search, plain, None)
    # Of a small model it can be larger: every slab has its operators.
    return (
        tiled if tiled.costs.arena.bytes < plain.arena.bytes else Tiled(content, None, plain, plain)
    )


def with_slabs(content: bytes, slabs: int) -> Tiled:
    """The model in so many slabs, with the plan that needs the smallest arena.

    Raises
    ------
    ModelError
        The model cannot be tiled, or not in so many slabs.
    """
    if slabs < 1:
        raise ModelError(f"a model cannot run in {slabs} slabs, expected 1 or more")
    if slabs == 1:
        return untouched(content)
    source = Source(content)
    plain = measure(content)
    search = Search(source, plain.arena.parts["persistent"])
    return _smallest(source, search, plain, slabs)


def _arena_bytes(estimate: Estimate) -> tuple[int, float]:
    return estimate.arena_bytes, estimate.extra_macs


def _likely_bytes(source: Source, estimate: Estimate, tries: int = QUICK_TRIES) -> int:
    """The estimate of the arena with a memory plan that was quickly found."""
    lives = memory_plan.lifetimes(Rewrite(source, estimate.plan).graph)
    quick = memory_plan.layout(lives, tries).bytes
    return estimate.arena_bytes - estimate.live_bytes + quick


def _smallest(source: Source, search: Search, plain: Costs, slabs: int | None) -> Tiled:
    """Tile by the best of the plans with the smallest estimates."""
    found = search.best(_arena_bytes, slabs)
    if not found:
        raise ModelError(
            f"the model cannot run in {slabs} slabs over time: it has too few rows, expected a smaller number"
        )
    found.sort(key=lambda estimate: _likely_bytes(source, estimate, 0))
    best = min(found[:FINALISTS], key=lambda estimate: _likely_bytes(source, estimate))
    return _tiled(source.content, best.plan, plain)


def _tiled(content: bytes, plan: Plan, plain: Costs) -> Tiled:
    tiled = tile(content, plan)
    return Tiled(tiled, plan, plain, measure(tiled))
