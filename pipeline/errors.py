"""What a user can cause, as one line; anything else is a bug and keeps its traceback."""

import sys
from collections.abc import Callable, Iterable


class SernetError(Exception):
    """Root of all errors that a user can cause.

    The message is one line: what was found, what was expected, what to do.
    """


class ParamsError(SernetError):
    """params.yaml has an unknown, missing or ill-typed entry."""


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


class BudgetError(SernetError):
    """The model does not fit the board."""


def listed(items: Iterable[object], most: int = 5) -> str:
    """`items` as a comma-separated line that names at most `most` of them."""
    names = [str(item) for item in items]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def run(main: Callable[[], None]) -> None:
    """Call `main`; turn a user's error into one line on stderr and exit status 1."""
    try:
        main()
    except SernetError as error:
        print(f"sernet: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("sernet: interrupted, nothing half-written was left", file=sys.stderr)
        raise SystemExit(130) from None
