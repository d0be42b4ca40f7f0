"""`sernet`: one command per stage, and what one does with the result.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.app import PORT, serve
from pipeline.commands import device, parameters, results
from pipeline.errors import SernetError, run

app = typer.Typer(
    name="sernet",
    help="Speech emotion recognition, from a folder of recordings to an int8 model on a microcontroller.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

STAGES = {
    "ingest": "Decode the corpus to mono audio at one rate.",
    "validate": "Check manifest, audio and split; write a page of it.",
    "features": "Compute the network's input for each clip.",
    "train": "Train one float model per fold and one on all speakers.",
    "fold": "Fold batch normalisation into the convolutions.",
    "quantize": "Fine-tune the folded models for eight bits.",
    "convert": "Write the flatbuffers and choose the int8 model that ships.",
    "evaluate": "Score every test clip once, and measure memory on the board.",
}


def _add(stage: str, text: str) -> None:
    @app.command(stage, help=text, rich_help_panel="Stages")
    def command() -> None:
        import_module(f"pipeline.{stage}").main()


for _stage, _text in STAGES.items():
    _add(_stage, _text)


@app.command("predict")
def predict_command(
    files: Annotated[list[Path], typer.Argument(help="Recordings, any format and rate.")],
    model: Annotated[
        Path, typer.Option(help="An int8 model, with its card (.json) beside it.")
    ] = paths.MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Print the emotion that the int8 model hears in each recording."""
    from dataclasses import asdict

    from pipeline.predict import predict

    for prediction in predict(files, model):
        if as_json:
            typer.echo(json.dumps(asdict(prediction), ensure_ascii=False))
            continue
        ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
        typer.echo(f"{prediction.file}: {prediction.label}")
        for label, probability in ranked:
            typer.echo(f"  {label:12} {probability:6.1%} {'█' * round(40 * probability)}")


@app.command()
def doctor() -> None:
    """Print versions, and what is missing and how to get it."""
    from pipeline.doctor import examine

    findings = examine()
    for finding in findings:
        remedy = f"   -> {finding.remedy}" if finding.remedy else ""
        typer.echo(f"{'!!' if finding.remedy else 'ok'} {finding.name:30} {finding.found}{remedy}")
    if wrong := [finding.name for finding in findings if finding.remedy]:
        raise SernetError(f"{len(wrong)} of {len(findings)} are not as they should be, marked !!")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
) -> None:
    """Write the demo corpus as wav files, to listen to."""
    from pipeline.audio.espeak import synthesize
    from pipeline.corpora.demo import read_recipe, utterances
    from pipeline.outputs import named_folder

    recipe = Path("data/corpora/demo")
    if not recipe.is_dir():
        raise SernetError(f"no {recipe} in {Path.cwd()}: run this from the root of the project")
    said = utterances(read_recipe(recipe))
    with named_folder(folder) as partial:
        partial.mkdir()
        synthesize(said, partial)
    typer.echo(f"{len(said)} recordings in {folder}")


@app.command("app")
def app_command(
    model: Annotated[
        Path, typer.Option(help="An int8 model, with its card (.json) beside it.")
    ] = paths.MODEL,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = PORT,
) -> None:
    """Serve a page on this machine: what is heard in a recording."""
    serve(model, port)


app.add_typer(results.app)
app.add_typer(device.app)
app.add_typer(parameters.app)


def main() -> None:
    run(app)
