"""The commands beside the stages, by what they are about.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.errors import SernetError
from pipeline.outputs import named_file

Write = Annotated[
    Path | None, typer.Option(help="A Markdown file with the two marks of what is printed.")
]


def print_or_write(table: str, name: str, document: Path | None) -> None:
    """Print `table`, or put it between the marks of `name` in `document`."""
    from pipeline.reporting.tables import written_into

    if document is None:
        typer.echo(table)
        return
    command = f"{name} --write {document.as_posix()}"
    try:
        text = paths.named(document, "a Markdown file").read_text("utf-8")
    except UnicodeDecodeError:
        raise SernetError(f"{document} is not UTF-8, expected a Markdown file: name one") from None
    write(document, written_into(text, name, command, table))


def write(file: Path, text: str) -> None:
    """Write to a file that the user names; one line of error where that cannot be."""
    with named_file(file) as partial:
        partial.write_text(text, "utf-8")
