"""The corpora: one module each, entered in `CORPORA`.

A corpus module has `LABELS`, the labels a clip may have or None for any, and
`find(path, workspace)`: it looks in the folder `path` and returns the clips
it holds. `workspace` is an empty folder that lasts until the clips are decoded, for a corpus that
makes its recordings itself. It raises CorpusError where the corpus is not what it should be.
"""

from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from pipeline.corpora.clip import Clip
from pipeline.errors import CorpusError

CORPORA = {
    "demo": "pipeline.corpora.demo",
    "emodb": "pipeline.corpora.emodb",
    "csv": "pipeline.corpora.csv",
}


def _module(name: str) -> ModuleType:
    if name not in CORPORA:
        raise CorpusError(
            f"corpus.name is {name!r}, expected one of {', '.join(CORPORA)}; "
            "docs/corpora.md tells how to add one"
        )
    return import_module(CORPORA[name])


def labels(name: str) -> list[str] | None:
    """The labels the corpus may have; None where the user names them."""
    known: list[str] | None = _module(name).LABELS
    return known


def find(name: str, path: Path, workspace: Path) -> list[Clip]:
    """The clips of the corpus `name` in `path`, in the order of their ids.

    Raises
    ------
    CorpusError
        The corpus is unknown, is not at `path`, is empty, or has two clips of one id.
    """
    clips: list[Clip] = sorted(_module(name).find(path, workspace), key=lambda clip: clip.id)
    for one, other in pairwise(clips):
        if one.id == other.id:
            raise CorpusError(
                f"two recordings would be clip {one.id!r}: {one.source} and {other.source}; "
                "rename one of them"
            )
    return clips
