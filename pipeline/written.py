"""What a stage wrote, read again."""

import json
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import SernetError


def read_json(file: Path) -> Any:
    """What a stage wrote to `file`; one line of error where that is not JSON."""
    try:
        return json.loads(paths.require(file).read_text("utf-8"))
    except ValueError:
        raise SernetError(f"{file} is not JSON, expected what `dvc repro` writes") from None
