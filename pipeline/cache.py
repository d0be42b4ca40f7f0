"""Results kept between runs, beside DVC's own cache.

DVC removes a stage's outputs before it runs the stage, so what a stage can reuse from an earlier
run (the features of the clips that did not change, the folds that an interrupted training had
finished) is kept here, in `data/cache` or where SERNET_CACHE points. It holds nothing that is not
computed again when it is missing.
"""

import hashlib
import importlib.metadata
import inspect
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from joblib import Memory

from pipeline.errors import SernetError, StaleCodeError

# What cannot be kept, on a full disk say, is computed again; here, and in each process that imports this.
# joblib's file that tells git to ignore the folder is the least of it.
warnings.filterwarnings("ignore", r"Unable to (cache to disk|write .*\.gitignore)")


def cached(function: Callable[..., Any], version: str, ignore: Iterable[str] = ()) -> Any:
    """`function` with its results kept on disk, keyed by all arguments that are not in `ignore`.

    Parameters
    ----------
    version : of the function and all that it calls, from `code_version`. Each has a folder of its own:
        joblib empties a function's when the function's text changes, and experiments of two revisions
        may share the cache

    Raises
    ------
    SernetError
        There can be no folder there.
    """
    return Memory(directory() / version, verbose=0).cache(function, ignore=list(ignore))


def directory() -> Path:
    """Where everything is kept; SernetError where that cannot be a folder to write to."""
    folder = Path(os.environ.get("SERNET_CACHE", "data/cache")).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SernetError(
            f"cannot keep results in {folder} ({error.strerror}), expected a folder: set SERNET_CACHE to another"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SernetError(
            f"cannot write to {folder}, expected a folder to keep results in: set SERNET_CACHE to another"
        )
    return folder


def code_version(*parts: ModuleType | type, packages: Iterable[str] = ()) -> str:
    """A digest of the source of modules and classes, and of the packages' versions.

    To be taken where the module that keeps results is imported: a file that is edited while a long
    stage runs is not the code that ran.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(inspect.getsource(part).encode())
    for package in packages:
        digest.update(f"{package}={importlib.metadata.version(package)}".encode())
    return digest.hexdigest()[:16]


def same_code(here: str, asked: str) -> None:
    """StaleCodeError where a worker has other code than the process that asks it.

    Both have to be the constant of a module that the worker imports: what the module that is run by
    name (`__main__`) holds goes along with the call.
    """
    if here != asked:
        raise StaleCodeError(
            "the code changed while this ran, so that its workers would compute something else: run it again; of a "
            "Dask cluster, restart the workers first"
        )
