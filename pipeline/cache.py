"""Results kept between runs, beside DVC's own cache.

DVC removes a stage's outputs before it runs the stage, so what a stage can reuse from an earlier
run (the features of the clips that did not change, the folds that an interrupted training had
finished) is kept here, in `data/cache` or where SERNET_CACHE points. It holds nothing that is not
computed again when it is missing.
"""

import hashlib
import importlib.metadata
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from joblib import Memory

# What cannot be kept, on a full disk say, is computed again; here, and in each process that imports this.
# joblib's file that tells git to ignore the folder is the least of it.
warnings.filterwarnings("ignore", r"Unable to (cache to disk|write .*\.gitignore)")


def cached(function: Callable[..., Any], ignore: Iterable[str] = ()) -> Any:
    """`function` with its results kept on disk, keyed by all arguments that are not in `ignore`.

    What the function calls is not part of the key: pass `code_version(…)` as an argument.
    """
    return Memory(directory(), verbose=0).cache(function, ignore=list(ignore))


def directory() -> Path:
    """Where everything is kept."""
    return Path(os.environ.get("SERNET_CACHE", "data/cache")).resolve()


def code_version(*modules: ModuleType, packages: Iterable[str] = ()) -> str:
    """A digest of the modules' source and the packages' versions."""
    digest = hashlib.sha256()
    for module in modules:
        assert module.__file__ is not None
        digest.update(Path(module.__file__).read_bytes())
    for package in packages:
        digest.update(f"{package}={importlib.metadata.version(package)}".encode())
    return digest.hexdigest()
