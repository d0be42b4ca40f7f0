"""Where in the arena each tensor lies, found before the model is on the device.

TFLite Micro's own planner places the largest tensor first and never looks back; a plan in the
model's metadata takes its place. Every other runtime ignores it.
"""

import random
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.tflite import flatbuffer
from pipeline.tflite.graph import Graph

ALIGNMENT = 16  # bytes; of TFLite Micro's tensors
TRIES = 300  # orders of placement that are tried, unless one reaches the lower bound before
LONG_LIVES = (0, 2, 4, 8, 16, 32, 64, 1 << 30)  # operators
NOT_PLANNED = -1  # of a constant, and of what is left to TFLite Micro's planner
NAME = b"OfflineMemoryAllocation"  # of the metadata, TFLite Micro's
VERSION = 1


@dataclass(frozen=True)
class Lifetime:
    """A tensor's aligned bytes, and the first and last operator during which it must exist."""

    tensor: int
    bytes: int
    first: int
    last: int

    def meets(self, other: "Lifetime") -> bool:
        return self.first <= other.last and other.first <= self.last


def lifetimes(graph: Graph) -> list[Lifetime]:
    """Those of all tensors that need a place in the arena."""
    return [
        Lifetime(tensor, -(-graph.tensors[tensor].bytes // ALIGNMENT) * ALIGNMENT, first, last)
        for tensor, (first, last) in graph.spans().items()
    ]


def live_bytes(lives: list[Lifetime]) -> int:
    """The most bytes that exist at a time: no plan needs less."""
    change = np.zeros(max(life.last for life in lives) + 2, np.int64)
    for life in lives:
        change[life.first] += life.bytes
        change[life.last + 1] -= life.bytes
    return int(change.cumsum().max())


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets in bytes by the tensors' numbers, and the bytes of the whole."""

    offsets: dict[int, int]
    bytes: int


def _place(order: list[Lifetime], neighbours: dict[int, list[int]]) -> MemoryPlan:
    """Give each in turn the lowest place that is free for all of its life."""
    placed: dict[int, tuple[int, int]] = {}
    top = 0
    for life in order:
        offset = 0
        for start, end in sorted(placed[n] for n in neighbours[life.tensor] if n in placed):
            if start - offset >= life.bytes:
                break
            offset = max(offset, end)
        placed[life.tensor] = (offset, offset + life.bytes)
        top = max(top, offset + life.bytes)
    return MemoryPlan({tensor: start for tensor, (start, _) in placed.items()}, top)


def layout(lives: list[Lifetime], tries: int = TRIES) -> MemoryPlan:
    """A place for each tensor such that no two that exist at a time overlap.

    Several orders of placement are tried, then the best one with single tensors moved to the front;
    the choice of these is random, but the same each time.
    """
    bound = live_bytes(lives)
    neighbours = {a.tensor: [b.tensor for b in lives if b is not a and a.meets(b)] for a in lives}
    # Long lives first, for what is short fits in between; then the large before the small.
    orders = [
        sorted(lives, key=lambda x: (min(0, long - x.last + x.first), -x.bytes, x.first))
        for long in LONG_LIVES
    ]
    results = [(_place(order, neighbours), order) for order in orders]
    best, order = min(results, key=lambda result: result[0].bytes)
    rng = random.Random(0)
    for _ in range(tries):
        if best.bytes == bound:
            break
        changed = list(order)
        # Those that end at the top are the ones that found no place below.
        high = [i for i, x in enumerate(order) if best.offsets[x.tensor] + x.bytes > bound]
        source = rng.choice(high) if rng.random() < 0.7 else rng.randrange(len(order))
        changed.insert(rng.randrange(source + 1), changed.pop(source))
        found = _place(changed, neighbours)
        if found.bytes <= best.bytes:
            best, order = found, changed
    return best


def detach(model: Any) -> None:
    """Forget the plan of a ModelT, whose offsets are of a graph that is about to change."""
    model.metadata = [copy(m) for m in model.metadata or [] if m.name != NAME]
    model.metadataBuffer = None  # deprecated; its numbers of buffers would be wrong ones


def attach(model: Any, offsets: dict[int, int]) -> None:
    """Put offsets into the metadata of a ModelT, whose tensors must not be renumbered after."""
    detach(model)
    count = len(model.subgraphs[0].tensors)
    planned = [offsets.get(number, NOT_PLANNED) for number in range(count)]
    values = np.array([VERSION, 0, count, *planned], "<i4")
    model.metadata.append(schema.MetadataT(name=NAME, buffer=len(model.buffers)))
    model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))


def read(content: bytes) -> dict[int, int] | None:
    """The offsets in a flatbuffer's metadata by the tensors' numbers; None where it has no plan."""
    model = flatbuffer.load(content)
    for metadata in model.metadata or []:
        if metadata.name == NAME:
            values = np.frombuffer(model.buffers[metadata.buffer].data.tobytes(), "<i4")[3:]
            return {n: int(offset) for n, offset in enumerate(values) if offset != NOT_PLANNED}
    return None
