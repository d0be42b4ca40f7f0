"""Which rows of each tensor every slab computes, and which it reads."""

from dataclasses import dataclass

from pipeline.tflite.tiling.rows import needs
from pipeline.tflite.tiling.source import Source


@dataclass(frozen=True)
class TilingPlan:
    """What runs slab by slab, and how. Tensors are given by their numbers in the plain model.

    until : the tensor up to which the model does
    pace : `until`, or a tensor before it, which sets the pace
    rows : how many rows of `pace` each slab computes
    every : after how many slabs what lies between `pace` and `until` runs, on all the rows there are
    keep : tensors whose rows are kept for the next slab instead of computed again
    """

    until: int
    pace: int
    rows: tuple[int, ...]
    every: int = 1
    keep: tuple[int, ...] = ()

    @property
    def slabs(self) -> int:
        return len(self.rows)

    @property
    def kept(self) -> frozenset[int]:
        """`keep` and `pace`, whose rows would be lost otherwise."""
        return frozenset((*self.keep, self.pace))


Rows = tuple[int, int]  # start, end; empty where they are equal


@dataclass(frozen=True)
class Slab:
    """What happens to each tensor in one slab, by its number.

    read : the rows that operators of this slab read; no entry where none does
    computed : the rows that are computed
    """

    read: dict[int, Rows]
    computed: dict[int, Rows]


def _union(rows: Rows, others: Rows | None) -> Rows:
    return rows if others is None else (min(rows[0], others[0]), max(rows[1], others[1]))


class Scheduler:
    """Works out from the last tensor to the first which rows a slab has to compute."""

    def __init__(self, source: Source, plan: TilingPlan) -> None:
        self._source = source
        self._plan = plan
        self._steps = source.region(plan.until)
        self._done: dict[int, int] = {}

    def slabs(self) -> list[Slab]:
        """One entry a slab. The input, which exists whole, is in none of them."""
        plan = self._plan
        length = self._source.length(plan.until)
        result = []
        pace = until = 0
        for number, rows in enumerate(plan.rows, 1):
            pace += rows
            if number == plan.slabs:
                until = length
            elif plan.pace == plan.until:
                until = pace
            elif number % plan.every == 0:
                while until < length and self._reach(until + 1) <= pace:
                    until += 1
            result.append(self._slab(until, pace))
        return result

    def _reach(self, end: int) -> int:
        """How many rows of `pace` the first `end` rows of `until` need."""
        read = {self._plan.until: (0, end)}
        for step in reversed(self._steps):
            (output,) = self._source.graph.operators[step].outputs
            if output in read and output != self._plan.pace:
                self._read(step, read[output], read)
        return read[self._plan.pace][1]

    def _read(self, step: int, rows: Rows, read: dict[int, Rows]) -> None:
        """Note which rows an operator reads for `rows` of its output."""
        found = self._source.window(step)
        for tensor in self._source.activations(step):
            wanted = rows
            if found:
                piece = needs(found.rows, *rows, self._source.length(tensor))
                wanted = (piece.start, piece.end)
            read[tensor] = _union(wanted, read.get(tensor))

    def _slab(self, until: int, pace: int) -> Slab:
        plan = self._plan
        read: dict[int, Rows] = {}
        computed: dict[int, Rows] = {}
        for step in reversed(self._steps):
            (output,) = self._source.graph.operators[step].outputs
            done = self._done.get(output, 0)
            start, end = read.get(output, (done, done))
            if output in plan.kept:
                start = max(start, done)
            if output == plan.until:
                start, end = done, until
            elif output == plan.pace:
                start, end = done, max(end, pace)
            if start >= end:
                continue
            computed[output] = (start, end)
            self._done[output] = end
            self._read(step, (start, end), read)
        return Slab(read, computed)
