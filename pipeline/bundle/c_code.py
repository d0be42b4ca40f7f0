"""Templates of C files, filled in: numbers as C literals, the same bytes for the same input."""

from collections.abc import Iterable
from pathlib import Path

import jinja2
import numpy as np

TEMPLATES = Path(__file__).parent / "templates"
_PER_LINE = 16
_HEX = [f"0x{byte:02x}" for byte in range(256)]


def _lines(literals: list[str]) -> str:
    rows = (literals[i : i + _PER_LINE] for i in range(0, len(literals), _PER_LINE))
    return "".join(f"    {', '.join(row)},\n" for row in rows)


def float_literal(value: float) -> str:
    """A C literal that a compiler reads as the nearest float32, with no more digits than it takes."""
    text = str(np.float32(value))
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def string_literal(text: str) -> str:
    """A C string literal in UTF-8, in ASCII characters alone."""
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')  # ?? begins a trigraph
    body = "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode())
    return f'"{body}"'


def _floats(values: np.ndarray) -> str:
    return _lines(
        [float_literal(value) for value in np.asarray(values, np.float32).ravel().tolist()]
    )


def _integers(values: np.ndarray) -> str:
    return _lines([str(value) for value in np.asarray(values).ravel().tolist()])


def _bytes(content: bytes) -> str:
    return _lines([_HEX[byte] for byte in content])


def _thousands(number: int) -> str:
    return f"{number:,}"


def fill(names: Iterable[str], folder: Path, **values: object) -> None:
    """Write each template `name` of the bundle into `folder`, without its suffix .j2."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # C and Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "floats": _floats,
        "integers": _integers,
        "bytes": _bytes,
        "string_literal": string_literal,
        "thousands": _thousands,
    }
    for name in names:
        text = environment.get_template(name).render(**values)
        (folder / name.removesuffix(".j2")).write_text(text, "utf-8")
