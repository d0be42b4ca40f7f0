"""Commands about the board: does it fit, what does each layer take, what is flashed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import paths
from pipeline.commands import write
from pipeline.errors import BudgetError, SernetError
from pipeline.written import read_json

if TYPE_CHECKING:
    from pipeline.tflite.card import Card

app = typer.Typer()
PANEL = "The board"

Model = Annotated[Path, typer.Argument(help="An int8 flatbuffer.")]


def _card(model: Path) -> "Card | None":
    """The card of `model`; None for a model that was not made here."""
    from pipeline.tflite import card

    return card.read(model) if model.with_suffix(".json").is_file() else None


def _content(model: Path) -> bytes:
    return paths.named(model, "an int8 flatbuffer").read_bytes()


@app.command(rich_help_panel=PANEL)
def budget() -> None:
    """Print what the model takes of the board; status 1: too much."""
    from pipeline.mcu.budget import Budget, render

    evaluation = read_json(paths.EVALUATION)
    found = evaluation["budget"]
    typer.echo(render(Budget.from_dict(found), evaluation.get("no_front_end", "")))
    if found["advice"]:
        raise BudgetError(found["advice"])


@app.command(rich_help_panel=PANEL)
def boards() -> None:
    """List the boards, and which of them hold the model."""
    from pipeline.mcu.boards import Sizes, load, table

    variants = {}
    if paths.EVALUATION.is_file():
        found = read_json(paths.EVALUATION)["variants"]
        variants = {name: Sizes.of(each) for name, each in found.items() if "refused" not in each}
    typer.echo(table(load(), variants))


@app.command(rich_help_panel=PANEL)
def describe(
    model: Model = paths.MODEL,
    picture: Annotated[Path | None, typer.Option(help="Also draw the memory as this SVG.")] = None,
    board: Annotated[str | None, typer.Option(help="Whose RAM the picture shows.")] = None,
) -> None:
    """Print each layer: shape, MACs, receptive field, live bytes."""
    from pipeline.mcu import boards, describe
    from pipeline.mcu.picture import svg

    if board and not picture:
        raise SernetError(
            "--board says whose RAM the picture shows, which is not asked for: add --picture"
        )
    limits = boards.get(board, said="--board") if board else None
    content = _content(model)
    described = describe.describe(content, _card(model))
    typer.echo(describe.table(described))
    if picture:
        write(picture, svg(described, model.as_posix(), limits))


@app.command(rich_help_panel=PANEL)
def tile(
    model: Model,
    ram: Annotated[str, typer.Option(help="What the arena may take: 131072, 128KB.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The tiled flatbuffer.")],
) -> None:
    """Rewrite a model for less memory, the same to the bit.

    Its early blocks run slab by slab over time.
    """
    from pipeline.mcu.size import parse_size
    from pipeline.mcu.tiling import auto
    from pipeline.outputs import named_file
    from pipeline.tflite import operators

    limit = parse_size(ram)
    content = _content(model)
    operators.check_int8(content)
    tiled = auto(content, limit)
    with named_file(output) as partial:
        partial.write_bytes(tiled.content)
    typer.echo(f"{'':22} {'before':>14} {'after':>14}")
    for name, before, after in tiled.table():
        typer.echo(f"{name:22} {before:>14} {after:>14}")
    if tiled.costs.arena.bytes > limit:
        raise BudgetError(
            f"the smallest arena found is {tiled.costs.arena.bytes:,} bytes, {tiled.costs.arena.bytes - limit:,} more than {limit:,}; "
            f"{output} holds that model: raise --ram, or shorten input_len"
        )


@app.command(rich_help_panel=PANEL)
def latency(model: Model = paths.MODEL) -> None:
    """Estimate seconds per board, from published speeds."""
    from pipeline.mcu.boards import load
    from pipeline.mcu.latency import table
    from pipeline.tflite import graph

    read = graph.read(_content(model))
    described = _card(model)
    seconds = described.input_len if described else None
    typer.echo(table(load(), read.macs(), seconds, read.depthwise_macs()))


@app.command(rich_help_panel=PANEL)
def npu(model: Model = paths.MODEL) -> None:
    """Compile for Arm's Ethos-U with Vela: SRAM, flash, what is left."""
    from pipeline.mcu.npu import accelerators, compiled, table

    content = _content(model)
    typer.echo(table([compiled(content, accelerator) for accelerator in accelerators()]))


@app.command(rich_help_panel=PANEL)
def export(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A folder that is not there yet; without it, the stage's own."
        ),
    ] = None,
) -> None:
    """Write model, front end and golden vectors as C files."""
    from pipeline import export as stage
    from pipeline.outputs import named_folder

    if output is None:
        stage.main()
        return
    with named_folder(output) as partial:
        said = stage.write(partial)
    typer.echo(f"wrote {output}: {said}\nstart with {output / 'README.md'}")
