"""The packages that the project asks for."""

import importlib.metadata
import re


def required(extras: bool = False) -> list[str]:
    """Names of the packages that pyproject.toml asks for, with those of its extras where `extras`.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        The project is not installed.
    """
    return [
        re.split(r"[^\w.-]", line)[0]
        for line in importlib.metadata.requires("sernet") or []
        if extras or "extra ==" not in line
    ]
