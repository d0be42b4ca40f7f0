"""What a corpus says of one recording."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Clip:
    """A recording and what is known of it before it is decoded.

    `id` is unique in the corpus and fit for a file name; `source` is the file relative to the
    corpus, so that a manifest is the same wherever the corpus lies.
    """

    id: str
    file: Path
    source: str
    label: str
    speaker: str
    session: str = ""
