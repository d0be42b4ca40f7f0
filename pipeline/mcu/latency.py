"""How long an inference may take on a board: a range from published speeds of other networks.

The software alone spans a factor of several on one core, and emulators do not time. So this is never
one number, and for a core without a published speed there is none.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.mcu import COLUMNS, cores
from pipeline.mcu.boards import Board
from pipeline.mcu.cores import Core, Measured

# A MAC of a depthwise convolution takes as long as so many of a dense one, at least and at most: it
# uses a weight and an input once each where a dense one uses them again. From MLPerf Tiny's closed
# results, where one board and one software run a dense network (image classification) and two
# separable ones (keyword spotting, visual wake words): v0.5, NUCLEO-L4R5ZI, TFLite Micro with
# CMSIS-NN, 3.0 and 5.0; v1.0, the same board, microTVM with CMSIS-NN, 2.9 and 3.7; v1.0,
# NUCLEO-H7A3ZI-Q, X-CUBE-AI, 5.2 and 6.2.
DEPTHWISE = (2.9, 6.2)


@dataclass(frozen=True)
class Latency:
    """An estimate for one board.

    seconds : the shortest and the longest time of an inference; None without a published speed
    realtime : the same by the seconds of speech that one inference hears; above 1, the board
        cannot follow. None where those are not known
    sources : what the range was made from
    note : how an end that nobody published was reached, or why there is no range
    """

    seconds: tuple[float, float] | None
    realtime: tuple[float, float] | None
    sources: tuple[str, ...]
    note: str


def spread(table: Mapping[str, Core]) -> float:
    """The widest ratio of a vendor's kernels to open ones, of those cores where both were measured."""
    return max(
        (
            max(vendor) / min(free)
            for vendor, free in (
                (_speeds(core.measured, "vendor"), _speeds(core.measured, "open"))
                for core in table.values()
            )
            if vendor and free
        ),
        default=1.0,
    )


def estimate(
    board: Board,
    macs: int,
    input_len: float | None = None,
    table: Mapping[str, Core] | None = None,
    depthwise_macs: int = 0,
) -> Latency:
    """The range for a model.

    From the fastest to the slowest speed that was published for the board's core. Where those are
    of a vendor's kernels only, open ones are taken to be slower by as much as they are on the core
    where the two differ most; where there is one figure of open kernels only, the fast end is
    widened likewise.

    Parameters
    ----------
    macs : of one inference
    input_len : seconds of speech that one inference hears
    table : the cores; None for the package's
    depthwise_macs : of `macs`, which count several times, for the speeds are of dense convolutions
    """
    table = cores.load() if table is None else table
    measured = table[board.core].measured if board.core in table else []
    if not measured:
        known = ", ".join(name for name, core in table.items() if core.measured)
        note = f"no speed is published for {board.core!r}; there are some for {known}"
        return Latency(None, None, (), note)
    slow = min(found.macs_per_cycle for found in measured)
    fast = max(found.macs_per_cycle for found in measured)
    note = ""
    if not _speeds(measured, "open"):
        slow /= spread(table)
        note = f"vendors' kernels only; the slow end allows for open ones, {spread(table):.1f} times slower on the core where the two differ most"
    elif len(measured) == 1:
        fast *= spread(table)
        note = f"one figure, of open kernels; the fast end allows for a vendor's, {spread(table):.1f} times faster on the core where the two differ most"
    hertz = board.mhz * 1e6
    least, most = (macs + (factor - 1) * depthwise_macs for factor in DEPTHWISE)
    seconds = (least / (fast * hertz), most / (slow * hertz))
    return Latency(
        seconds=seconds,
        realtime=(seconds[0] / input_len, seconds[1] / input_len) if input_len else None,
        sources=tuple(f"{found.source}: {found.macs_per_cycle:g} MAC/cycle" for found in measured),
        note=note,
    )


def table(
    boards: Mapping[str, Board],
    macs: int,
    input_len: float | None = None,
    depthwise_macs: int = 0,
) -> str:
    """The estimates for a terminal of 80 columns, each with its sources by number."""
    numbers: dict[str, int] = {}
    lines = [f"{'board':17} {'core, MHz':15} {'seconds':>15} {'of real time':>14}  from"]
    for key, board in boards.items():
        found = estimate(board, macs, input_len, depthwise_macs=depthwise_macs)
        refs = [
            numbers.setdefault(text, len(numbers) + 1)
            for text in (*found.sources, *filter(None, [found.note]))
        ]
        lines.append(
            f"{key:17} {f'{board.core} {board.mhz}':15} {_range(found.seconds):>15} "
            f"{_range(found.realtime):>14}  {', '.join(map(str, refs))}"
        )
    meaning = _MEANING.format(macs=macs)
    if depthwise_macs:
        meaning += _DEPTHWISE.format(depthwise_macs, *DEPTHWISE)
    lines += ["", *textwrap.wrap(meaning, COLUMNS)]
    for text, number in numbers.items():
        lines += textwrap.wrap(
            text, COLUMNS, initial_indent=f"{number:2}  ", subsequent_indent="    "
        )
    return "\n".join(lines)


_MEANING = (
    "An estimate for {macs:,} MACs, the network alone: from the speeds at which others measured other "
    "networks on the same core, at the board's highest clock. Not a measurement."
)
_DEPTHWISE = (
    " {:,} of the MACs are depthwise convolutions': they count {} to {} times, for the speeds are of "
    "dense ones (MLPerf Tiny, separable networks beside a dense one)."
)


def _range(ends: tuple[float, float] | None) -> str:
    return "not known" if ends is None else f"{ends[0]:.2g} to {ends[1]:.2g}"


def _speeds(measured: list[Measured], kernels: str) -> list[float]:
    return [found.macs_per_cycle for found in measured if found.kernels == kernels]
