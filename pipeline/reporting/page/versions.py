"""What the page was made with."""

import importlib.metadata
import platform

from pipeline.packages import required


def of_environment() -> list[tuple[str, str]]:
    """Python, this project and the packages that it asks for, by name, with their versions."""
    return [
        ("python", platform.python_version()),
        *((name, _version(name)) for name in ["sernet", *sorted(required())]),
    ]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
