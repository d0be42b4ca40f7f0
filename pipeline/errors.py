"""What a user can cause, as one line; anything else is a bug and keeps its traceback."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class SernetError(Exception):
    """Root of all errors that a user can cause.

    The message is one line: what was found, what was expected, what to do.
    """


class ParamsError(SernetError):
    """params.yaml, or another file that people write, has an unknown, missing or ill-typed entry."""


class CorpusError(SernetError):
    """The corpus is not where it should be, or not what it should be."""


class AudioError(SernetError):
    """A recording cannot be decoded or used."""


class SplitError(SernetError):
    """The clips cannot be divided into folds as asked."""


class ValidationError(SernetError):
    """The data broke an error-level expectation."""


class MissingError(SernetError):
    """A file that an earlier stage writes is not there."""


class ModelError(SernetError):
    """A model has a form that this pipeline does not handle."""


class DivergedError(SernetError):
    """A training's loss is no number any more."""


class StaleCodeError(SernetError):
    """The project's code was edited while a stage ran."""


class DiskFullError(SernetError):
    """There is no room for what a stage writes."""


class BudgetError(SernetError):
    """The model does not fit the board."""


def listed(items: Iterable[object], most: int = 5) -> str:
    """`items` as a comma-separated line that names at most `most` of them."""
    names = [str(item) for item in items]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _end_with_dvc() -> None:
    """Let this stage end when the DVC that started it is killed.

    Else it would go on, and write its outputs over those of the next `dvc repro`.

    Raises
    ------
    SernetError
        That DVC has ended already.
    """
    if sys.platform != "linux" or "DVC_STAGE" not in os.environ:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Whoever inherits a stage from a DVC that was killed before this line is of another session.
    if os.getsid(os.getppid()) != os.getsid(0):
        raise SernetError("DVC has ended, so this stage wrote nothing: run `dvc repro` again")


def run(main: Callable[[], None]) -> None:
    """Call `main`; turn a user's error into one line on stderr and exit status 1.

    As a stage it does not outlive the DVC that started it.
    """
    try:
        _end_with_dvc()
        main()
    except SernetError as error:
        print(f"sernet: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
