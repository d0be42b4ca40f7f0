"""A stage's outputs appear whole or not at all."""

import errno
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os.path import lexists
from pathlib import Path

from pipeline.errors import DiskFullError, SernetError, listed

SPARE = 2**20  # bytes; a disk with less left is what made a write fail


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _partial(final: Path) -> Path:
    """Where `final` is written, and removed: what is there may be in part."""
    return final.with_name(f".{final.name}.partial")


def _aside(final: Path) -> Path:
    """Where a folder waits, whole, while another takes its place."""
    return final.with_name(f".{final.name}.old.partial")


def _settle(final: Path) -> None:
    """End the exchange of a folder, be it interrupted: the old one gives way, or comes back."""
    old = _aside(final)
    if not lexists(old):
        return
    if not lexists(final):
        old.rename(final)
        return
    old.rename(_partial(final))
    _remove(_partial(final))


def _exchange(partial: Path, final: Path) -> None:
    """Put `partial` in the place of `final`; at no moment is what was there lost in part."""
    folders = any(path.is_dir() and not path.is_symlink() for path in (partial, final))
    if not folders:
        partial.replace(final)
        return
    if lexists(final):
        final.rename(_aside(final))
    partial.rename(final)
    _settle(final)


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
        f"{where} is full, and nothing half-written was left: make room, then run it again"
    )


@contextmanager
def staged(*targets: str | Path) -> Iterator[list[Path]]:
    """Yield a path to write to for each target; move them into place when the block ends well.

    The paths lie beside their targets, so that a move is a rename within one file system. When
    the block raises, they are removed and the targets stay as they were. An interruption of the
    moves leaves each target whole, as it was or as it is to be.

    Raises
    ------
    DiskFullError
        The block raised for want of room.
    """
    finals = [Path(target) for target in targets]
    partials = [_partial(final) for final in finals]
    try:
        for partial in partials:
            partial.parent.mkdir(parents=True, exist_ok=True)
            _remove(partial)  # of a run that was killed
        for final in finals:
            _settle(final)
        yield partials
        for partial, final in zip(partials, finals, strict=True):
            _exchange(partial, final)
    except Exception as error:
        if full := _disk_full(error, (final.parent for final in finals)):
            raise full from error
        raise
    finally:
        for partial, final in zip(partials, finals, strict=True):
            _remove(partial)
            _settle(final)


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


@contextmanager
def named_folder(target: Path) -> Iterator[Path]:
    """Yield a path to make a folder at; it becomes `target`, a new one that the user names.

    Raises
    ------
    SernetError
        `target` is there already, or cannot be made.
    """
    try:
        if lexists(target):
            raise SernetError(f"{target} is there already, expected a new folder: name another")
        with staged(target) as (partial,):
            yield partial
    except OSError as error:
        raise SernetError(
            f"cannot make {target} ({error.strerror}: {error.filename}), expected a place where folders can be made"
        ) from None
