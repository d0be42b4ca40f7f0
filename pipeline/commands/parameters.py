"""The command about params.yaml."""

import typer

from pipeline.commands import Write, print_or_write

app = typer.Typer()


@app.command("params")
def params_command(write: Write = None) -> None:
    """Print every parameter: default, bounds, meaning, what it reruns."""
    from pipeline.reporting.parameters import render

    print_or_write(render(), "params", write)
