"""The memory of a model as a picture: the bytes live while each operator runs."""

from importlib.resources import files

import jinja2

from pipeline.mcu.boards import Board
from pipeline.mcu.describe import Description, Layer

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT, TOP, BOTTOM = 90, 940, 95, 400  # of the plot
LABELLED = 40  # most operators whose names have room; of more, some numbers stand there
TICKS = 6  # about so many


def svg(description: Description, name: str, board: Board | None = None) -> str:
    """A self-contained SVG: a bar per operator, the peak marked, the board's RAM as a line.

    Parameters
    ----------
    description : of the model
    name : what the title calls it
    board : the board whose largest contiguous RAM is drawn; None for no line. One with more than
        twice the peak is only named, so that the bars stay readable
    """
    drawn = board is not None and board.ram <= 2 * description.peak_bytes
    top = max(description.peak_bytes, board.ram if board and drawn else 0)
    step = _round_up(top / TICKS)
    scale = (BOTTOM - TOP) / (1.08 * top)  # a little room above for the label

    def y(n: float) -> float:
        return round(BOTTOM - scale * n, 1)

    slot = (RIGHT - LEFT) / len(description.layers)
    bars = []
    for layer in description.layers:
        x = LEFT + slot * (layer.number - 1)
        centre = round(x + slot / 2, 1)
        bars.append(
            {
                "x": round(x + 0.1 * slot, 1),
                "width": round(0.8 * slot, 1),
                "y": y(layer.live_bytes),
                "height": round(BOTTOM - y(layer.live_bytes), 1),
                "centre": centre,
                "labelled": min(max(centre, LEFT + 60), RIGHT - 60),
                "bytes": f"{layer.live_bytes:,}",
                "peak": layer.peak,
                "title": f"{layer.number} {_name(layer)}: {layer.live_bytes:,} bytes live",
                "label": _label(layer, len(description.layers)),
            }
        )
    _, frames, bins, _ = description.input_shape
    summary = (
        f"{frames} frames × {bins} {description.axis}, {description.params:,} parameters, "
        f"{description.macs:,} MACs. Peak: {description.peak_bytes:,} bytes."
    )
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((files(__package__) / "memory.svg.j2").read_text("utf-8"))
    return template.render(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        bottom=BOTTOM,
        title=f"{name}: bytes live while each operator runs",
        summary=summary,
        ticks=[
            {"y": y(n), "label": f"{n // 1024} KiB"} for n in range(0, int(1.08 * top) + 1, step)
        ],
        bars=bars,
        limit=board and _limit(board, y(board.ram) if drawn else None),
    )


def _limit(board: Board, y: float | None) -> dict[str, object]:
    """The board's line at `y`, or only its words, at the top, where it is None."""
    label = f"{board.name}: {board.ram:,} B of RAM"
    return {
        "line": y is not None,
        "y": TOP if y is None else y,
        "label": label if y is not None else f"{label}, above this scale",
    }


def _round_up(n: float) -> int:
    """The next of 1, 2 or 5 KiB times a power of ten, so that the scale has round numbers."""
    step = 1024
    while True:
        for factor in (1, 2, 5):
            if factor * step >= n:
                return factor * step
        step *= 10


def _name(layer: Layer) -> str:
    return layer.operator + (f" {layer.kernel[0]}×{layer.kernel[1]}" if layer.kernel else "")


def _label(layer: Layer, layers: int) -> str:
    """What stands under a bar: the operator, or now and then a number where there is no room."""
    if layers <= LABELLED:
        return f"{layer.number} {_name(layer)}"
    every = -(-layers // LABELLED)
    return str(layer.number) if layer.number % every == 0 else ""
