"""The table of processor cores: compiler flags, and published speeds."""

from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML


class Measured(BaseModel):
    """A published speed; `kernels` are open ones, as TFLite Micro's, or a vendor's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    macs_per_cycle: Annotated[float, Field(gt=0)]
    kernels: Literal["open", "vendor"]
    source: str


class Core(BaseModel):
    """A core; `flags` are GCC's, empty where the vendor's compiler sets its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    flags: list[str]
    measured: list[Measured]


def load() -> dict[str, Core]:
    """All cores by the names that boards take."""
    content = YAML(typ="safe").load((files(__package__) / "cores.yaml").read_text("utf-8"))
    return {key: Core.model_validate(value) for key, value in content.items()}
