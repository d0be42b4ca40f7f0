"""Commands about what came out: scores, comparisons, tables."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.commands import read_json

app = typer.Typer()
PANEL = "Results"

Write = Annotated[
    Path | None, typer.Option(help="A Markdown file with the two marks of what is printed.")
]


@app.command(rich_help_panel=PANEL)
def report(
    metrics: Annotated[Path, typer.Option(help="A metrics.json.")] = paths.METRICS,
    base: Annotated[
        str | None,
        typer.Option(help="Compare with this revision, as Markdown; exit status 1 at a breach."),
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="What is compared with --base; without it, the working tree.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the run as one page that needs no network.")
    ] = None,
    audio: Annotated[bool, typer.Option(help="Whether recordings stand in the page.")] = True,
) -> None:
    """Print the result as a table, compare it with a revision, or write it as a page."""
    if html:
        from pipeline.reporting import page

        page.write(html, include_audio=audio)
        typer.echo(f"wrote {html}" + (", which contains recordings" if audio else ""))
    elif base:
        _report_on_change(base, head)
    else:
        from pipeline.reporting.table import render

        typer.echo(render(read_json(metrics)))


def _report_on_change(base: str, head: str | None) -> None:
    from pipeline import params
    from pipeline.reporting.differences import compare_revisions
    from pipeline.reporting.gate import breaches
    from pipeline.reporting.pull_request import render

    found = compare_revisions(base, head)
    broken = breaches(found, params.load().gate)
    typer.echo(render(found, broken), nl=False)
    for line in broken:
        typer.echo(f"sernet: gate: {line}", err=True)
    if broken:
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def compare(
    a: Annotated[str, typer.Argument(help="A predictions.csv, a folder with one, or a revision.")],
    b: Annotated[str, typer.Argument(help="Another, on the same clips.")],
    model: Annotated[str, typer.Option(help="float, ptq, qat, int8.")] = "int8",
) -> None:
    """Say whether two runs on the same clips differ by more than chance, speaker by speaker."""
    from pipeline.reporting.runs import compared

    typer.echo(compared(a, b, model))


@app.command(rich_help_panel=PANEL)
def results(
    write: Write = None,
) -> None:
    """Print the committed runs in experiments/ as a Markdown table."""
    from pipeline.reporting import experiments, tables

    _print_or_write(tables.results(experiments.read(experiments.FOLDER)[0]), "results", write)


@app.command("tables", rich_help_panel=PANEL)
def tables_command(
    write: Write = None,
    picture: Annotated[Path | None, typer.Option(help="Also write Table 1 as this SVG.")] = None,
) -> None:
    """Print the paper's Tables 1 to 4 beside ours, as Markdown."""
    from pipeline.reporting import experiments, tables

    rows, peers = experiments.read(experiments.FOLDER)
    _print_or_write(tables.tables(rows, peers), "tables", write)
    if picture:
        picture.write_text(tables.picture(rows), "utf-8")


@app.command(rich_help_panel=PANEL)
def memory(
    write: Write = None,
) -> None:
    """Print what the network takes plain, tiled and streaming, as measured for the project."""
    from pipeline.reporting.memory import render

    _print_or_write(render(), "memory", write)


def _print_or_write(table: str, name: str, document: Path | None) -> None:
    from pipeline.reporting.tables import written_into

    if document is None:
        typer.echo(table)
        return
    command = f"{name} --write {document.as_posix()}"
    text = paths.require(document).read_text("utf-8")
    document.write_text(written_into(text, name, command, table), "utf-8")


@app.command(rich_help_panel=PANEL)
def queue(
    names: Annotated[list[str], typer.Argument(help="Rows of experiments/rows.yaml.")],
    path: Annotated[str | None, typer.Option(help="Where the corpus lies.")] = None,
) -> None:
    """Queue named runs as DVC experiments; `dvc queue start` runs them."""
    from pipeline.reporting import experiments

    for name in names:
        experiments.queue(name, path)
        typer.echo(f"queued {name}")


@app.command(rich_help_panel=PANEL)
def keep(name: Annotated[str, typer.Argument(help="A row of experiments/rows.yaml.")]) -> None:
    """Keep the results in the working tree as those of a named run, to be committed."""
    from pipeline.reporting import experiments

    typer.echo(f"kept in {experiments.keep(name)}")
