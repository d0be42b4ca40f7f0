"""A model slab by slab in the real TFLite Micro: which plan, and the memory that it takes there."""

from dataclasses import dataclass

from pipeline.errors import ModelError
from pipeline.mcu import arena
from pipeline.mcu.arena import Arena
from pipeline.tflite import graph
from pipeline.tflite.tiling import Estimate, Search, Source, TilingPlan, tile

QUICK_TRIES = 40  # of memory plans, where several graphs are compared
FINALISTS = 6  # whose memory is planned with so many tries


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
    plan: TilingPlan | None
    plain: Costs
    costs: Costs

    @property
    def slabs(self) -> int:
        return self.plan.slabs if self.plan else 1

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


def measure(content: bytes) -> Costs:
    """Run a model in TFLite Micro to see what it needs.

    Raises
    ------
    ModelError
        TFLite Micro cannot run it.
    """
    return Costs(arena.smallest(content), graph.read(content).macs(), len(content))


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
        if search.planned_bytes(estimate, QUICK_TRIES) <= ram_bytes:
            tiled = _tiled(content, estimate.plan, plain)
            if tiled.costs.arena.bytes <= ram_bytes:
                return tiled
    tiled = _smallest(content, search, plain, None)
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
    return _smallest(content, search, plain, slabs)


def _arena_bytes(estimate: Estimate) -> tuple[int, float]:
    return estimate.arena_bytes, estimate.extra_macs


def _smallest(content: bytes, search: Search, plain: Costs, slabs: int | None) -> Tiled:
    """Tile by the best of the plans with the smallest estimates."""
    found = search.best(_arena_bytes, slabs)
    if not found:
        raise ModelError(
            f"the model cannot run in {slabs or 'two or more'} slabs over time: it has too few rows"
            + (", expected a smaller number" if slabs else "")
        )
    found.sort(key=lambda estimate: search.planned_bytes(estimate, tries=0))
    best = min(found[:FINALISTS], key=lambda estimate: search.planned_bytes(estimate, QUICK_TRIES))
    return _tiled(content, best.plan, plain)


def _tiled(content: bytes, plan: TilingPlan, plain: Costs) -> Tiled:
    tiled = tile(content, plan)
    return Tiled(tiled, plan, plain, measure(tiled))
