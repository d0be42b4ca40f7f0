"""How far long work has come, and how long it will still take.

On a terminal a bar; elsewhere (a log, a pipe, CI) whole lines, now and then, with nothing in them
that moves a cursor.
"""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

INTERVAL = 30  # seconds between two lines of a log
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed} so far, {remaining} left"


class Progress(tqdm):
    """Counts items that are done, on stderr.

    Parameters
    ----------
    iterable : counted while it is iterated; without it `update` counts
    name : what is done
    unit : one item, in the singular
    total : how many items, where `iterable` has no length
    lines : lines even on a terminal: the bars of several processes would overwrite each other
    """

    n: int

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        *,
        name: str,
        unit: str,
        total: int | None = None,
        lines: bool = False,
    ) -> None:
        self._bar = sys.stderr.isatty() and not lines
        self._said = 0
        # `miniters`: each item looks at the clock, so that a fast start does not silence what follows.
        as_lines = {
            "bar_format": LINE, "mininterval": INTERVAL, "delay": INTERVAL, "miniters": 1, "leave": False,
        }  # fmt: skip
        options = {} if self._bar else as_lines
        super().__init__(iterable, desc=name, unit=unit, total=total, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Show the state; tqdm calls this whenever it is due."""
        if self._bar:
            return super().display(msg, pos)
        if msg is None and self.n != self._said:
            self._said = self.n
            print(self, file=self.fp, flush=True)
        return None

    def clear(self, nolock: bool = False) -> None:
        """Make room for other text; tqdm calls this before it writes some."""
        if self._bar:
            super().clear(nolock)

    def note(self, text: str) -> None:
        """Print a line on stdout about an item that has ended."""
        with self.external_write_mode():
            print(text, flush=True)

    def reach(self, n: int) -> None:
        """Let `n` items be done; those not counted yet took no time, and say nothing of the rest."""
        self.initial += n - self.n
        self.last_print_n += n - self.n
        self.n = n
