"""The plan of what is tried, as it is written in the file: see `pipeline.reporting.ablation`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline import forms, paths
from pipeline.forms import Form


class WrittenStart(Form):
    """A start; `corpus` is the name of one in the table of named runs."""

    corpus: str
    set: dict[str, Any]
    learn_from: Literal["all"] | None = None


class WrittenPlan(Form):
    """The plan; `speakers` are those that choices are made on."""

    speakers: Annotated[list[str], Field(min_length=2)]
    seeds: Annotated[list[int], Field(min_length=1)]
    starts: dict[str, WrittenStart]
    base: dict[str, Any]
    variants: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]


def read(file: Path) -> WrittenPlan:
    """What `file` says; MissingError where there is none, ParamsError where it is not of the form."""
    return forms.read(paths.require(file), WrittenPlan)
