"""Commands about what came out: scores, comparisons, tables."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.commands import Write, print_or_write
from pipeline.commands import write as write_file
from pipeline.errors import SernetError
from pipeline.written import read_json

app = typer.Typer()
PANEL = "Results"


@app.command(rich_help_panel=PANEL)
def report(
    metrics: Annotated[
        Path | None, typer.Option(help=f"Print this; without it, {paths.METRICS}.")
    ] = None,
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
    """Print the result, compare it with a revision, or write a page."""
    if head and not base:
        raise SernetError(
            "--head says what is compared with --base, which is not given: add --base"
        )
    if html and base:
        raise SernetError("--html writes one run and --base compares two: give one of them")
    if metrics and (html or base):
        other = "--html" if html else "--base"
        raise SernetError(
            f"--metrics names what is printed and {other} prints no such file: give one"
        )
    if not audio and not html:
        raise SernetError("--no-audio says what stands in --html, which is not given: add --html")
    if html:
        from pipeline.reporting import page

        page.write(html, include_audio=audio)
        typer.echo(f"wrote {html}" + (", which contains recordings" if audio else ""))
    elif base:
        _report_on_change(base, head)
    else:
        from pipeline.reporting.terminal import render

        metrics = metrics or paths.METRICS
        found = read_json(paths.named(metrics, "a metrics.json"))
        if not isinstance(found, dict) or not {"float", "model", "mcu"} <= found.keys():
            raise SernetError(f"{metrics} is not a result, expected a metrics.json")
        typer.echo(render(found))


def _report_on_change(base: str, head: str | None) -> None:
    from pipeline.reporting.differences import compare_revisions
    from pipeline.reporting.gate import breaches, thresholds
    from pipeline.reporting.pull_request import render

    found = compare_revisions(base, head)
    broken = breaches(found, thresholds(found.head))
    typer.echo(render(found, broken), nl=False)
    for line in broken:
        typer.echo(f"sernet: gate: {line}", err=True)
    if broken:
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def compare(
    a: Annotated[str, typer.Argument(help="A predictions.csv, a folder with one, or a revision.")],
    b: Annotated[str, typer.Argument(help="Another, on the same clips.")],
    model: Annotated[
        str, typer.Option(help="float, float16, ptq, qat, int8 or paper_protocol.")
    ] = "int8",
) -> None:
    """Say whether two runs differ by more than chance.

    They have to be on the same clips; their answers are exchanged speaker by speaker.
    """
    from pipeline.reporting.runs import compared

    typer.echo(compared(a, b, model))


@app.command(rich_help_panel=PANEL)
def results(
    write: Write = None,
) -> None:
    """Print the committed runs in experiments/ as a Markdown table."""
    from pipeline.reporting import experiments, tables

    print_or_write(tables.results(experiments.read(experiments.FOLDER)[0]), "results", write)


@app.command("tables", rich_help_panel=PANEL)
def tables_command(
    write: Write = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw them as this SVG.")] = None,
    costs: Annotated[
        Path | None, typer.Option(help="Also write the runs against their costs as this SVG.")
    ] = None,
) -> None:
    """Print the paper's Tables 1 to 4 beside ours, as Markdown."""
    from pipeline.reporting import experiments, pareto, tables

    rows, peers = experiments.read(experiments.FOLDER)
    against = experiments.against_references(experiments.FOLDER, rows)
    print_or_write(tables.tables(rows, peers, against), "tables", write)
    if picture:
        write_file(picture, tables.picture(rows, peers))
    if costs:
        write_file(costs, pareto.picture(rows))


@app.command("ablation", rich_help_panel=PANEL)
def ablation_command(
    write: Write = None,
    costs: Annotated[
        Path | None, typer.Option(help="Also write the networks against their costs as this SVG.")
    ] = None,
) -> None:
    """Print what was tried on the development speakers, as Markdown."""
    from pipeline.reporting import ablation, pareto

    plan, done = ablation.plan(), ablation.read()
    print_or_write(ablation.table(plan, done), "ablation", write)
    if costs:
        write_file(costs, pareto.tried(plan, done))


@app.command(rich_help_panel=PANEL)
def memory(
    write: Write = None,
) -> None:
    """Print the measured memory of the network, plain to streaming."""
    from pipeline.reporting.memory import render

    print_or_write(render(), "memory", write)


@app.command(rich_help_panel=PANEL)
def queue(
    names: Annotated[list[str], typer.Argument(help="Rows of experiments/rows.yaml.")],
    path: Annotated[str | None, typer.Option(help="Where the corpus lies.")] = None,
) -> None:
    """Queue named runs; `dvc queue start` runs them."""
    from pipeline.reporting import experiments

    for name in names:
        experiments.queue(name, path)
        typer.echo(f"queued {name}")


@app.command(rich_help_panel=PANEL)
def keep(name: Annotated[str, typer.Argument(help="A row of experiments/rows.yaml.")]) -> None:
    """Keep the working tree's results as those of a named run."""
    from pipeline.reporting import experiments

    typer.echo(f"kept in {experiments.keep(name)}")
