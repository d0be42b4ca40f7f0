"""A stage's outputs appear whole or not at all."""

import errno
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import DiskFullError, SernetError, listed

SPARE = 2**20  # bytes; a disk with less left is what made a write fail


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _disk_full(error: Exception, folders: Iterable[Path]) -> DiskFullError | None:
    """`error` as a full disk, where it is one.

    The room that is left tells, since libraries do not: NumPy says "144 requested and 0 written",
    libsndfile "System error".
    """
    places = dict.fromkeys(folder.resolve() for folder in folders if folder.exists())
    full = [place for place in places if shutil.disk_usage(place).free < SPARE]
    if not full and getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
        return None
    where = f"the disk of {listed(full)}" if full else "a disk, or a quota,"
    return DiskFullError(
        f"{where} is full, and nothing half-written was left: make room, then run `dvc repro` again"
    )


@contextmanager
def staged(*targets: str | Path) -> Iterator[list[Path]]:
    """Yield a path to write to for each target; move them into place when the block ends well.

    The paths lie beside their targets, so that a move is a rename within one file system. When
    the block raises, they are removed and the targets stay as they were.

    Raises
    ------
    DiskFullError
        The block raised for want of room.
    """
    finals = [Path(target) for target in targets]
    partials = [final.with_name(f".{final.name}.partial") for final in finals]
    try:
        for partial in partials:
            partial.parent.mkdir(parents=True, exist_ok=True)
            _remove(partial)  # of a run that was killed
        yield partials
        for partial, final in zip(partials, finals, strict=True):
            _remove(final)
            partial.rename(final)
    except Exception as error:
        if full := _disk_full(error, (final.parent for final in finals)):
            raise full from error
        raise
    finally:
        for partial in partials:
            _remove(partial)


@contextmanager
def named_file(target: Path) -> Iterator[Path]:
    """Yield a path to write to; what is there then becomes the file `target`, which the user names.

    Raises
    ------
    SernetError
        `target` is a folder or a device, which would be lost, or cannot be written.
    """
    if target.is_dir():
        raise SernetError(f"{target} is a folder, expected a file to write: name one in it")
    if target.exists() and not target.is_file():  # /dev/null, a pipe
        raise SernetError(f"{target} is not a regular file, expected a file to write: name one")
    try:
        # A link stays, and what it leads to is written.
        with staged(target.resolve() if target.is_symlink() else target) as (partial,):
            yield partial
    except OSError as error:
        raise SernetError(
            f"cannot write {target} ({error.strerror}: {error.filename}), expected a place where files can be made"
        ) from None
