"""What native code writes to file descriptor 2, past Python."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


class Captured:
    """`text` holds what was written, once the block has ended."""

    text = ""


@contextmanager
def stderr_captured() -> Iterator[Captured]:
    """Keep file descriptor 2 out of the log; exceptions pass and show as ever."""
    captured = Captured()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield captured
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            captured.text = file.read().decode(errors="replace")
