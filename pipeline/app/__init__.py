"""`sernet app`: a page on this machine that shows what the int8 model hears in a recording."""

from pathlib import Path

from pipeline.errors import SernetError

PORT = 8484


def serve(model: Path, port: int = PORT) -> None:
    """Serve the page on the loopback address until Ctrl-C.

    Parameters
    ----------
    model : an int8 flatbuffer, with its card beside it
    port : 0 for any free one

    Raises
    ------
    SernetError
        The server's library is not installed, or the port cannot be had.
    MissingError
        The model or its card is not there.
    """
    try:
        from pipeline.app.server import run
    except ModuleNotFoundError as missing:
        if missing.name != "aiohttp":
            raise
        raise SernetError(
            "no aiohttp, which serves the page: install the extra with `pip install -e '.[app]'`"
        ) from None
    run(model, port)
