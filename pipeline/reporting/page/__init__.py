"""A run as one HTML page that needs neither network nor script.

Each section comes from files that a stage wrote; where they are missing, the section says so.
"""

import base64
from pathlib import Path
from typing import Any

import jinja2

from pipeline.outputs import named_file
from pipeline.reporting.page import accuracy, clips, curves, fit, run, versions
from pipeline.reporting.page.run import Run
from pipeline.scoring.speakers import RESAMPLES

FOLDER = Path(__file__).parent


def write(target: Path, include_audio: bool = True) -> None:
    """Write the page of the run in the current folder to `target`.

    Parameters
    ----------
    target : an HTML file; it appears whole or not at all
    include_audio : whether recordings stand in the page, which may need the corpus's licence

    Raises
    ------
    SernetError
        There is no metrics.json (MissingError), a file of the run is not what its stage writes, or
        `target` cannot be written.
    """
    text = render(run.read(), include_audio)
    with named_file(target) as partial:
        partial.write_text(text, "utf-8")


def render(of: Run, include_audio: bool = True) -> str:
    """The page of a run; what is not metrics is read from the current folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["data_uri"] = data_uri
    picture = fit.picture(of)
    return environment.get_template("page.html.j2").render(
        # Not a template, and nothing of the run is in it: the page takes it as it is.
        css=(FOLDER / "page.css").read_text("utf-8"),
        **_sections(of),
        picture=picture,
        hearing=clips.choose(of, include_audio),
        versions=versions.of_environment(),
    )


def _sections(of: Run) -> dict[str, Any]:
    return {
        "metrics": of.metrics,
        "result": accuracy.result(of.metrics),
        "chance": accuracy.chance(of.metrics),
        "resamples": RESAMPLES,
        "sizes": accuracy.sizes(of.metrics, of.conversion),
        "confusion": accuracy.confusion(of.predictions),
        "speakers": accuracy.by_speaker(of.predictions),
        "curves": curves.of_folds(of.learning_curves),
        "budget": fit.budget_of(of.evaluation),
        "advice": (of.evaluation or {}).get("budget", {}).get("advice", ""),
        "boards": fit.boards_of(of.evaluation),
        "conditions": accuracy.conditions(of.metrics, of.evaluation),
        "validation": of.validation,
        "params": of.params_text,
    }


def data_uri(content: bytes, kind: str) -> str:
    """`content` as the address of what lies in the page itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
