"""Where the run's model fits, and what takes the memory."""

from dataclasses import dataclass
from typing import Any

from pipeline import paths
from pipeline.errors import SernetError
from pipeline.mcu import boards
from pipeline.mcu.boards import Board
from pipeline.mcu.budget import Budget, Line, Need
from pipeline.reporting.page.run import Run


def budget_of(evaluation: dict[str, Any] | None) -> Budget | None:
    """The run's budget; None in a run that has none with lines."""
    content = (evaluation or {}).get("budget", {})
    return Budget.from_dict(content) if "need" in content else None


@dataclass(frozen=True)
class Verdict:
    """Bytes that a board lacks; none when the variant fits.

    ram : None where the scratch memory of the board's kernels is not known
    """

    ram: int | None
    flash: int

    @property
    def fits(self) -> bool:
        return self.ram == 0 and self.flash == 0


@dataclass(frozen=True)
class Boards:
    """All boards of the table against the variants.

    rows : each board with its verdicts, in the order of `needs`
    refused : variants that the model cannot have, with the reason
    """

    needs: list[Need]
    rows: list[tuple[Board, list[Verdict]]]
    refused: list[tuple[str, str]]


def boards_of(evaluation: dict[str, Any] | None) -> Boards | None:
    """Which board holds which variant of the model; None in a run that measured no variants."""
    variants = (evaluation or {}).get("variants", {})
    needs = [
        Need(
            name,
            *(tuple(_line(line) for line in of[side]) for side in ("ram", "flash")),
            scratch=of.get("scratch", {}),
        )
        for name, of in variants.items()
        if "refused" not in of
    ]
    if not needs:
        return None
    refused = [(name, of["refused"]) for name, of in variants.items() if "refused" in of]
    rows = [(board, [verdict(board, need) for need in needs]) for board in boards.load().values()]
    return Boards(needs, rows, refused)


def _line(content: dict[str, Any]) -> Line:
    return Line(content["name"], content["bytes"], content["how"])


def verdict(board: Board, need: Need) -> Verdict:
    try:
        ram = max(0, boards.ram_on(board, need.sizes) - board.ram)
    except KeyError:
        ram = None
    return Verdict(ram, flash=max(0, need.flash_bytes - board.flash))


@dataclass(frozen=True)
class Picture:
    """The bytes live while each operator runs, drawn, and as a table: number, name, bytes, peak."""

    svg: bytes
    summary: str
    layers: list[tuple[int, str, int, bool]]


def picture(run: Run) -> Picture | None:
    """Of the model as it is flashed: tiled where the run says so, else the plain graph.

    None where it is not there or cannot be read.
    """
    from pipeline.mcu import picture as drawn
    from pipeline.mcu.describe import describe
    from pipeline.tflite import card

    mcu = run.metrics.get("mcu", {})
    variant = mcu.get("variant", "plain")
    file = paths.DEVICE / "model.tflite" if variant == "tiled" else paths.MODEL
    if not file.is_file():
        return None
    try:
        description = describe(file.read_bytes(), card.read(paths.MODEL))
    except SernetError:
        return None
    board = boards.load().get(mcu.get("board", ""))
    peak = next(layer for layer in description.layers if layer.peak)
    limit = f", against {board.ram:,} bytes of RAM on {board.name}" if board else ""
    return Picture(
        svg=drawn.svg(description, f"The {variant} graph", board).encode(),
        summary=f"Activations of the {variant} graph live while each of {len(description.layers)} operators runs: the peak is {description.peak_bytes:,} bytes at {peak.number} {peak.operator}{limit}.",
        layers=[
            (layer.number, layer.operator, layer.live_bytes, layer.peak)
            for layer in description.layers
        ],
    )
