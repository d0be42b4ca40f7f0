"""The device: boards, the arena that TFLite Micro needs, and the memory budget."""

from collections.abc import Sized

COLUMNS = 80  # of a terminal, for what is printed


def require_clips(clips: Sized) -> None:
    """Refuse to compare two ways of computing on nothing: they would not differ.

    Raises
    ------
    ValueError
        There are no clips.
    """
    if len(clips) == 0:
        raise ValueError("no clips to compare, expected one or more")
