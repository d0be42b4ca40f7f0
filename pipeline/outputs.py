"""A stage's outputs appear whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def staged(*targets: str | Path) -> Iterator[list[Path]]:
    """Yield a path to write to for each target; move them into place when the block ends well.

    The paths lie beside their targets, so that a move is a rename within one file system. When
    the block raises, they are removed and the targets stay as they were.
    """
    finals = [Path(target) for target in targets]
    partials = [final.with_name(f".{final.name}.partial") for final in finals]
    for partial in partials:
        partial.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)  # of a run that was killed
    try:
        yield partials
        for partial, final in zip(partials, finals, strict=True):
            _remove(final)
            partial.rename(final)
    finally:
        for partial in partials:
            _remove(partial)
