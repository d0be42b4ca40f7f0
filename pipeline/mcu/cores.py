"""The table of processor cores: compiler flags, kernels, and published speeds."""

from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

CMSIS_NN = "CMSIS-NN"
ESP_NN = "ESP-NN"


class Measured(BaseModel):
    """A published speed; `kernels` are open ones, as TFLite Micro's, or a vendor's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    macs_per_cycle: Annotated[float, Field(gt=0)]
    kernels: Literal["open", "vendor"]
    source: str


class Core(BaseModel):
    """A core.

    flags : GCC's, empty where the vendor's compiler sets its own
    kernels : the optimized ones that TFLite Micro has for it
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    flags: list[str]
    kernels: Literal["CMSIS-NN", "ESP-NN"] = "CMSIS-NN"
    measured: list[Measured]


@cache
def kernels(core: str) -> str:
    """Whose optimized kernels run on a core; of one that is not in the table, CMSIS-NN's."""
    table = load()
    return table[core].kernels if core in table else CMSIS_NN


def load() -> dict[str, Core]:
    """All cores by the names that boards take."""
    content = YAML(typ="safe").load((files(__package__) / "cores.yaml").read_text("utf-8"))
    return {key: Core.model_validate(value) for key, value in content.items()}
