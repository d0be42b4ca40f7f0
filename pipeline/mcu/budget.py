"""Whether a model fits a board, and what stands in the way when it does not."""

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.mcu.arena import Arena
from pipeline.mcu.boards import Board
from pipeline.tflite.graph import Graph


@dataclass(frozen=True)
class Budget:
    """Bytes needed and bytes there are.

    arena_bytes : measured, the smallest arena that works
    model_bytes : measured, the flatbuffer
    runtime_flash_bytes : allowed for, TFLite Micro with its kernels and the front end
    """

    board: str
    board_name: str
    arena_bytes: int
    arena_limit_bytes: int
    model_bytes: int
    runtime_flash_bytes: int
    flash_limit_bytes: int

    @property
    def flash_bytes(self) -> int:
        return self.model_bytes + self.runtime_flash_bytes

    @property
    def fits(self) -> bool:
        return (
            self.arena_bytes <= self.arena_limit_bytes
            and self.flash_bytes <= self.flash_limit_bytes
        )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "flash_bytes": self.flash_bytes, "fits": self.fits}


def make(name: str, board: Board, arena: Arena, model_bytes: int, runtime_bytes: int) -> Budget:
    return Budget(
        board=name,
        board_name=board.name,
        arena_bytes=arena.bytes,
        arena_limit_bytes=board.ram,
        model_bytes=model_bytes,
        runtime_flash_bytes=runtime_bytes,
        flash_limit_bytes=board.flash,
    )


def explain(
    budget: Budget, arena: Arena, graph: Graph, input_len: float, boards: dict[str, Board]
) -> str:
    """One line: how much over, what dominates, what to change. Empty when the model fits."""
    if budget.fits:
        return ""
    over = []
    change = []
    if budget.arena_bytes > budget.arena_limit_bytes:
        operator, tensors = graph.peak()
        largest = tensors[0]
        over.append(
            f"the arena needs {budget.arena_bytes:,} bytes, {budget.arena_bytes - budget.arena_limit_bytes:,} "
            f"more than the board's {budget.arena_limit_bytes:,}; the peak is at {operator.name}, largest tensor "
            f"{'×'.join(map(str, largest.shape))} ({largest.bytes:,} bytes)"
        )
        # Activations grow with the number of frames, the persistent part does not.
        room = budget.arena_limit_bytes - arena.parts["persistent"]
        shorter = int(10 * input_len * room / arena.parts["activations"]) / 10
        if shorter > 0:
            change.append(f"input_len of about {shorter:g} s")
        change.append("fewer model.stem_filters")
    if budget.flash_bytes > budget.flash_limit_bytes:
        over.append(
            f"flash needs {budget.flash_bytes:,} bytes (model {budget.model_bytes:,}, runtime allowance "
            f"{budget.runtime_flash_bytes:,}), {budget.flash_bytes - budget.flash_limit_bytes:,} more than the "
            f"board's {budget.flash_limit_bytes:,}"
        )
        change.append("fewer model.body_filters and model.head_filters")
    fitting = [
        name
        for name, board in boards.items()
        if budget.arena_bytes <= board.ram and budget.flash_bytes <= board.flash
    ]
    change.append(f"a board that holds it ({', '.join(fitting) or 'none is in the table'})")
    return f"{budget.board_name} is too small: {'; '.join(over)}. Change: {', or '.join(change)}"
