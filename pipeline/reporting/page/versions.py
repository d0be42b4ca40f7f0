"""What the page was made with."""

import importlib.metadata
import platform
import re


def of_environment() -> list[tuple[str, str]]:
    """Python, this project and the packages that it asks for, by name, with their versions."""
    asked = [
        re.split(r"[<>=~!;\[ ]", line)[0]
        for line in importlib.metadata.requires("sernet") or []
        if "extra ==" not in line
    ]
    return [
        ("python", platform.python_version()),
        *((name, _version(name)) for name in ["sernet", *sorted(asked)]),
    ]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
