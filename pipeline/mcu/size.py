"""Sizes of memory as people write them."""

import re

from pipeline.errors import ParamsError

UNITS = {"": 1, "B": 1, "KB": 1024, "KIB": 1024, "MB": 1 << 20, "MIB": 1 << 20}


def parse_size(text: str) -> int:
    """Bytes of "131072", "128KB" or "1.5 MB"; a KB is 1,024 bytes, as on data sheets of memory.

    Raises
    ------
    ParamsError
        It is no size, or not a whole number of bytes above zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if not found or found[2].upper() not in UNITS:
        raise ParamsError(
            f"{text!r} is no size of memory, expected bytes or a number with KB or MB: 131072, 128KB, 1.5MB"
        )
    size = float(found[1]) * UNITS[found[2].upper()]
    if size < 1 or size != int(size):
        raise ParamsError(
            f"{text!r} is {size:g} bytes, expected a whole number of bytes above zero"
        )
    return int(size)
