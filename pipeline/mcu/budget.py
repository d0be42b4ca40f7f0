"""What a model takes of a board, line by line, and what would make it fit when it does not."""

import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pipeline.mcu import COLUMNS, cores
from pipeline.mcu.boards import Board, Sizes, fits
from pipeline.mcu.cores import CMSIS_NN
from pipeline.tflite.graph import Graph


@dataclass(frozen=True)
class Line:
    """One thing that takes memory.

    `measured` bytes were read off the real thing (TFLite Micro, a file); `computed` ones were added
    up from the sizes of their parts, and nothing was run in just so many; `allowed for` ones are a
    parameter, since they depend on the user's program.
    """

    name: str
    bytes: int
    how: Literal["measured", "computed", "allowed for"]


SCRATCH = "convolution scratch, "
SYSTEM = "the board's system"


def scratch_line(kernels: str, size: int) -> Line:
    """What the optimized convolutions ask of the arena, beside what the network was measured to need."""
    return Line(SCRATCH + kernels, size, "allowed for")


@dataclass(frozen=True)
class Need:
    """What one way of running the model takes; the first line of `ram` is what the network needs.

    scratch : in bytes, by whose kernels run; that of CMSIS-NN is a line of `ram`, if no board was said
    """

    variant: str
    ram: tuple[Line, ...]
    flash: tuple[Line, ...]
    scratch: dict[str, int] = field(default_factory=dict, kw_only=True)

    def on(self, board: Board | None) -> "Need":
        """The same on a board: its kernels' scratch, its system. On none, CMSIS-NN's scratch, no system.

        Raises
        ------
        KeyError
            The scratch memory of the board's kernels is not known.
        """
        kernels = cores.kernels(board.core) if board else CMSIS_NN
        lines = tuple(
            scratch_line(kernels, self.scratch[kernels]) if line.name.startswith(SCRATCH) else line
            for line in self.ram
            if line.name != SYSTEM
        )
        if board and board.system_ram:
            lines = (*lines, Line(SYSTEM, board.system_ram, "allowed for"))
        return replace(self, ram=lines)

    @property
    def sizes(self) -> Sizes:
        """What decides whether a board holds it; of a need that is on no board yet."""
        return Sizes(self.ram_bytes, self.flash_bytes, self.scratch)

    @property
    def arena_bytes(self) -> int:
        return self.ram[0].bytes

    @property
    def ram_bytes(self) -> int:
        return sum(line.bytes for line in self.ram)

    @property
    def flash_bytes(self) -> int:
        return sum(line.bytes for line in self.flash)


@dataclass(frozen=True)
class Budget:
    """Bytes needed against bytes there are."""

    board: str
    board_name: str
    need: Need
    ram_limit_bytes: int
    flash_limit_bytes: int

    @property
    def arena_limit_bytes(self) -> int:
        """What everything else leaves of the RAM for the network."""
        return max(0, self.ram_limit_bytes - (self.need.ram_bytes - self.need.arena_bytes))

    @property
    def fits(self) -> bool:
        return (
            self.need.ram_bytes <= self.ram_limit_bytes
            and self.need.flash_bytes <= self.flash_limit_bytes
        )

    def to_dict(self) -> dict[str, Any]:
        """For a JSON file; `from_dict` reads it."""
        return {**asdict(self), "fits": self.fits}

    @staticmethod
    def from_dict(content: dict[str, Any]) -> "Budget":
        need = content["need"]
        lines = {side: tuple(Line(**line) for line in need[side]) for side in ("ram", "flash")}
        return Budget(
            content["board"],
            content["board_name"],
            Need(need["variant"], lines["ram"], lines["flash"], scratch=need.get("scratch", {})),
            content["ram_limit_bytes"],
            content["flash_limit_bytes"],
        )


def make(name: str, board: Board, need: Need) -> Budget:
    """The budget of a board called `name`, whatever board `need` was reckoned for."""
    return Budget(name, board.name, need.on(board), board.ram, board.flash)


def render(budget: Budget, no_front_end: str = "") -> str:
    """The budget as a table for a terminal of 80 columns.

    Parameters
    ----------
    no_front_end : why the device does not have the features, so that no line is of the front end
    """
    rows = [f"{budget.board_name}, {budget.need.variant}"]
    for title, lines, total, limit in (
        ("RAM", budget.need.ram, budget.need.ram_bytes, budget.ram_limit_bytes),
        ("flash", budget.need.flash, budget.need.flash_bytes, budget.flash_limit_bytes),
    ):
        rows.append("")
        rows += [f"  {line.name:32.32} {line.bytes:>11,}  {line.how}" for line in lines]
        over = total - limit
        verdict = f"{over:,} too many" if over > 0 else f"{-over:,} left"
        rows.append(f"  {title + ' in all':32} {total:>11,}  of {limit:,}: {verdict}")
    if no_front_end:
        rows += ["", *textwrap.wrap(f"The front end is not counted: {no_front_end}", COLUMNS)]
    return "\n".join(rows)


def explain(budget: Budget, graph: Graph, others: Iterable[Need], boards: dict[str, Board]) -> str:
    """One line: how much over, what dominates, what would make it fit. Empty when the model fits.

    Parameters
    ----------
    graph : of the plain model, whose largest tensor is named
    others : the other ways of running the model that were measured, on the same board
    boards : that may hold it
    """
    if budget.fits:
        return ""
    need = budget.need
    over = []
    if need.ram_bytes > budget.ram_limit_bytes:
        operator, tensors = graph.peak()
        largest = tensors[0]
        over.append(
            f"{need.variant}, it needs {need.ram_bytes:,} bytes of RAM, {need.ram_bytes - budget.ram_limit_bytes:,} more than "
            f"the board's {budget.ram_limit_bytes:,}; the network takes {need.arena_bytes:,} of them, and the plain graph's largest "
            f"tensor is {'×'.join(map(str, largest.shape))} ({largest.bytes:,} bytes), at {operator.name}"
        )
    if need.flash_bytes > budget.flash_limit_bytes:
        model = need.flash[0].bytes
        over.append(
            f"it needs {need.flash_bytes:,} bytes of flash, {need.flash_bytes - budget.flash_limit_bytes:,} more than the board's "
            f"{budget.flash_limit_bytes:,}; the model takes {model:,} of them"
        )
    change = [
        f"run it {other.variant} ({other.ram_bytes:,} bytes of RAM)"
        for other in others
        if other.ram_bytes <= budget.ram_limit_bytes
        and other.flash_bytes <= budget.flash_limit_bytes
    ]
    if need.ram_bytes > budget.ram_limit_bytes:
        change.append("a smaller input_len or fewer model.stem_filters")
    if need.flash_bytes > budget.flash_limit_bytes:
        change.append("fewer model.members, model.body_filters or model.head_filters")
    anywhere = need.on(None)
    fitting = [name for name, board in boards.items() if fits(board, anywhere.sizes)]
    change.append(f"a board that holds it ({', '.join(fitting) or 'none is in the table'})")
    return f"{budget.board_name} is too small: {'; '.join(over)}. What would make it fit: {', or '.join(change)}"
