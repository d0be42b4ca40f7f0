"""Which plan: many are estimated, from the graph alone, and the best few are returned.

The estimate of an arena is the most bytes that live at a time, which a good memory plan reaches or
nearly so, and the persistent bytes of TFLite Micro for each operator.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import ModelError
from pipeline.tflite import memory_plan
from pipeline.tflite.graph import CONVOLUTIONS, Graph
from pipeline.tflite.tiling.rewrite import Rewrite
from pipeline.tflite.tiling.schedule import TilingPlan
from pipeline.tflite.tiling.source import Source

# Persistent bytes of TFLite Micro on a 64-bit host, fitted to what its recording allocator counts;
# for the ranking of plans only, the arena of the chosen one is measured.
OPERATOR_BYTES = {"SLICE": 64, "PAD": 128}
OTHER_OPERATOR_BYTES = 155
CHANNEL_BYTES = 8  # multiplier and shift of each output channel of a convolution
TENSOR_BYTES = 24

MOST_EXTRA_MACS = 0.03
SLABS = (2, 3, 4, 5, 6, 7, 9, 11, 13, 16, 20, 25, 32, 42)
EVERY = (1, 2, 3, 5)
RECOMPUTED = 2  # at most so many of the first tensors with overlaps are computed again
CLIMBS = 3
PATIENCE = 2


def persistent_bytes(graph: Graph) -> int:
    """An estimate of what TFLite Micro allocates besides activations, but for a fixed part."""
    total = TENSOR_BYTES * len(graph.tensors)
    for operator in graph.operators:
        total += OPERATOR_BYTES.get(operator.name, OTHER_OPERATOR_BYTES)
        if operator.name in CONVOLUTIONS:
            total += CHANNEL_BYTES * graph.tensors[operator.outputs[0]].shape[-1]
    return total


def cuts(source: Source) -> list[int]:
    """Tensors up to which a model can run slab by slab, each smaller than the ones before.

    All that follows reads nothing but this tensor; the last convolution stays whole.

    Raises
    ------
    ModelError
        There is none; the reason is the first operator's that stands in the way.
    """
    last = source.producer[source.graph.last_convolution()]
    found: list[int] = []
    first_reason: ModelError | None = None
    for step in range(last):
        (output, *_) = source.graph.operators[step].outputs
        try:
            steps = source.region(output)
        except ModelError as error:
            first_reason = first_reason or error
            continue
        others = (set(range(step)) - set(steps)) | set(source.consumers[source.input]) - set(steps)
        smaller = all(
            source.graph.tensors[output].bytes < source.graph.tensors[cut].bytes for cut in found
        )
        if not others and smaller and source.length(output) > 1:
            found.append(output)
    if not found:
        raise first_reason or ModelError(
            "the model cannot run slab by slab: before its last convolution no tensor longer than one row is all "
            "that follows reads, as where networks stand side by side"
        )
    return found


@dataclass(frozen=True, order=True)
class _Point:
    """A plan in the terms in which the search moves."""

    until: int
    pace: int
    recomputed: int
    slabs: int
    every: int
    short: int  # rows that the first slab has less than the others, for it needs those ahead

    def plan(self, source: Source) -> TilingPlan | None:
        """None where it would have an empty slab."""
        length = source.length(self.pace)
        if not 1 <= self.slabs <= length or not 1 <= self.every <= self.slabs or self.short < 0:
            return None
        overlaps = source.overlaps(source.region(self.until))
        if not 0 <= self.recomputed <= min(RECOMPUTED, len(overlaps)):
            return None
        total = length + self.short
        ends = [total * k // self.slabs - self.short for k in range(1, self.slabs + 1)]
        rows = tuple(end - start for start, end in zip([0, *ends], ends, strict=False))
        if min(rows) < 1:
            return None
        return TilingPlan(
            self.until, self.pace, rows, self.every, tuple(overlaps[self.recomputed :])
        )

    def neighbours(self, fixed_slabs: bool) -> Iterator["_Point"]:
        for slabs in (0,) if fixed_slabs else (-2, -1, 0, 1, 2):
            for every in (-1, 0, 1) if self.pace != self.until else (0,):
                for short in (-1, 0, 1):
                    if slabs or every or short:
                        yield replace(
                            self,
                            slabs=self.slabs + slabs,
                            every=self.every + every,
                            short=self.short + short,
                        )


@dataclass(frozen=True)
class Estimate:
    """What a plan is expected to need.

    arena_bytes : with a memory plan that needs no more than the most bytes that live at a time
    live_bytes : those
    operators : how many, which stands for the flash that they take
    """

    plan: TilingPlan
    arena_bytes: int
    live_bytes: int
    extra_macs: float
    operators: int


Key = Callable[[Estimate], Any]


class Search:
    """Plans of a model, by an order that the caller gives.

    Parameters
    ----------
    persistent : measured bytes of the plain model's arena that are no activations
    """

    def __init__(self, source: Source, persistent: int) -> None:
        self._source = source
        self._fixed = persistent - persistent_bytes(source.graph)
        self._macs = source.graph.macs()
        self._known: dict[_Point, Estimate | None] = {}

    def best(self, key: Key, slabs: int | None = None, most: int = 24) -> list[Estimate]:
        """The `most` best plans, lowest key first; with so many slabs, where a number is given."""
        seeds = []
        for family in self._families():
            seen = [self._coarse(replace(family, every=n), key, slabs) for n in self._every(family)]
            seeds += [min(s for s in seen if s)] if any(seen) else []
        for value, start in sorted(seeds)[:CLIMBS]:
            self._climb(start, value, key, slabs is not None)
        found = {e.plan: e for e in self._known.values() if e is not None}
        right = [e for e in found.values() if slabs is None or e.plan.slabs == slabs]
        return sorted(right, key=key)[:most]

    def planned_bytes(self, estimate: Estimate, tries: int) -> int:
        """The estimate of the arena, with a memory plan that so many tries find."""
        lives = memory_plan.lifetimes(Rewrite(self._source, estimate.plan).graph)
        planned = memory_plan.layout(lives, tries).bytes
        return estimate.arena_bytes - estimate.live_bytes + planned

    def _families(self) -> Iterator[_Point]:
        """Points that differ in more than numbers, between which no step leads."""
        tensors = cuts(self._source)
        for index, until in enumerate(tensors):
            for pace in tensors[: index + 1]:
                for recomputed in range(RECOMPUTED + 1):
                    yield _Point(until, pace, recomputed, slabs=2, every=1, short=0)

    def _every(self, family: _Point) -> tuple[int, ...]:
        return EVERY if family.pace != family.until else (1,)

    def _coarse(self, family: _Point, key: Key, slabs: int | None) -> tuple[Any, _Point] | None:
        """The best of a few numbers of slabs; more are not tried once they have become worse."""
        best: tuple[Any, _Point] | None = None
        worse = 0
        for number in SLABS if slabs is None else (slabs,):
            point = replace(family, slabs=number)
            estimate = self._estimate(point)
            if estimate is not None and (best is None or key(estimate) < best[0]):
                best, worse = (key(estimate), point), 0
            elif number >= family.every:
                worse += 1
            if worse == PATIENCE:
                break
        return best

    def _climb(self, here: _Point, value: Any, key: Key, fixed_slabs: bool) -> None:
        """Move to the best neighbour as long as it is better; what was seen is remembered."""
        while True:
            around = [
                (key(estimate), point)
                for point in here.neighbours(fixed_slabs)
                if (estimate := self._estimate(point)) is not None
            ]
            nearest = min(around, key=lambda seen: seen[0], default=(value, here))
            if nearest[0] >= value:
                return
            value, here = nearest

    def _estimate(self, point: _Point) -> Estimate | None:
        if point not in self._known:
            self._known[point] = self._estimated(point)
        return self._known[point]

    def _estimated(self, point: _Point) -> Estimate | None:
        plan = point.plan(self._source)
        if plan is None:
            return None
        try:
            graph = Rewrite(self._source, plan).graph
        except ModelError:
            return None  # the border of a slab lies where this pool cannot be cut
        extra = graph.macs() / self._macs - 1
        if extra > MOST_EXTRA_MACS:
            return None
        live = memory_plan.live_bytes(memory_plan.lifetimes(graph))
        arena = live + self._fixed + persistent_bytes(graph)
        return Estimate(plan, arena, live, extra, len(graph.operators))
