"""The corpora: each module in this package is one, by its name.

A corpus module has `LABELS`, the labels a clip may have or None for any, and
`find(path, workspace)`: it looks in `path` and returns the clips it holds. `workspace` is an empty
folder that lasts until the clips are decoded, for a corpus that makes its recordings itself. It
raises CorpusError where the corpus is not what it should be.
"""

import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from pipeline.errors import CorpusError


@dataclass(frozen=True)
class Clip:
    """A recording and what is known of it before it is decoded.

    `id` is unique in the corpus and fit for a file name; `source` is the file relative to the
    corpus, so that a manifest is the same wherever the corpus lies, unless a table names it by an
    absolute path. `subset` names a part of the corpus that can be asked for. `paper_key` is what the
    paper's reference implementation makes its folds by, where that is not the speaker.
    """

    id: str
    file: Path
    source: str
    label: str
    speaker: str
    session: str = ""
    subset: str = ""
    paper_key: str = ""


def wavs(files: Iterable[Path]) -> list[Path]:
    """The recordings among `files`, in order, however their ending is spelt.

    Hidden ones are none: macOS puts one beside each file on a disk that is not its own.
    """
    return sorted(
        file for file in files if file.suffix.lower() == ".wav" and not file.name.startswith(".")
    )


def _module(name: str) -> ModuleType:
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in known:
        raise CorpusError(
            f"corpus.name is {name!r}, expected one of {', '.join(known)}; "
            "docs/corpora.md tells how to add one"
        )
    return import_module(f"pipeline.corpora.{name}")


def labels(name: str) -> list[str] | None:
    """The labels the corpus may have; None where the user names them."""
    known: list[str] | None = _module(name).LABELS
    return known


ALL = "all"  # the whole corpus, as `subset`
# Bytes: a file's name may have 255, of which an ending or more takes some.
LONGEST_ID = 251
LONGEST_GROUP = 200


def find(name: str, path: Path, workspace: Path, subset: str = ALL) -> list[Clip]:
    """The clips of the corpus `name` in `path`, in the order of their ids.

    Raises
    ------
    CorpusError
        The corpus or the subset is unknown, the corpus is not at `path`, is empty, has two clips of
        one id, or has names that no file can have.
    """
    clips: list[Clip] = sorted(_module(name).find(path, workspace), key=lambda clip: clip.id)
    subsets = sorted({clip.subset for clip in clips} - {""})
    if subset not in (ALL, *subsets):
        raise CorpusError(
            f"corpus.subset is {subset!r}, expected one of {', '.join((ALL, *subsets))}: what {name} has"
        )
    clips = [clip for clip in clips if subset in (ALL, clip.subset)]
    for one, other in pairwise(clips):
        if one.id == other.id:
            raise CorpusError(
                f"two recordings would be clip {one.id!r}: {one.source} and {other.source}; "
                "rename one of them"
            )
    for clip in clips:
        # Files of clips and of folds are named by these.
        for kind, text, most in (
            ("id", clip.id, LONGEST_ID),
            ("speaker", clip.speaker, LONGEST_GROUP),
            ("session", clip.session, LONGEST_GROUP),
        ):
            if "/" in text or "\\" in text or not text.isprintable():
                raise CorpusError(
                    f"{clip.source}: {kind} {text!r} has a slash or a character that cannot be printed; "
                    "files are named by it, change it"
                )
            if len(text.encode()) > most:
                raise CorpusError(
                    f"{clip.source}: {kind} {text!r} has {len(text.encode())} bytes, expected at most {most}; "
                    "files are named by it, shorten it"
                )
    return clips
