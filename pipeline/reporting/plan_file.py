"""The plan of what is tried, as it is written in the file: see `pipeline.reporting.ablation`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline import forms, paths
from pipeline.errors import listed
from pipeline.forms import Form


class WrittenStart(Form):
    """A start; `corpus` is the name of one in the table of named runs."""

    corpus: str
    set: dict[str, Any]
    learn_from: Literal["all"] | None = None


class WrittenPlan(Form):
    """The plan: `speakers` are those that choices are made on, `held_to` has by variant what it is held to."""

    speakers: Annotated[list[str], Field(min_length=2)]
    seeds: Annotated[list[int], Field(min_length=1)]
    starts: dict[str, WrittenStart]
    base: dict[str, Any]
    variants: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    held_to: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "WrittenPlan":
        named = [*self.held_to, *self.held_to.values()]
        if unknown := [name for name in named if name not in self.variants]:
            raise ValueError(f"held_to names {listed(unknown)}, which is none of its variants")
        if (first := next(iter(self.variants))) in self.held_to:
            raise ValueError(f"held_to has {first}, which the others are held to")
        if itself := [name for name, other in self.held_to.items() if name == other]:
            raise ValueError(f"held_to holds {listed(itself)} to itself, expected another variant")
        return self


def read(file: Path) -> WrittenPlan:
    """What `file` says; MissingError where there is none, ParamsError where it is not of the form."""
    return forms.read(paths.require(file), WrittenPlan)
