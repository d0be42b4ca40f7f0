"""A matrix as a small PNG: blue below zero, orange above, which all kinds of colour vision tell apart."""

import struct
import zlib

import numpy as np

BLUE, WHITE, ORANGE = (5, 72, 130), (247, 247, 247), (178, 76, 0)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
INDEXED, BITS = 3, 8


def palette() -> np.ndarray:
    """The colours of −1 to 1 [shape=(255, 3)], uint8."""
    shares = np.linspace(-1, 1, 255)
    return np.stack(
        [np.interp(shares, [-1, 0, 1], ends) for ends in zip(BLUE, WHITE, ORANGE, strict=True)],
        axis=1,
    ).astype(np.uint8)


def picture(x: np.ndarray, limit: float) -> bytes:
    """A PNG with a pixel per value, time to the right and the first bin at the bottom.

    Parameters
    ----------
    x : np.ndarray [shape=(frames, bins)]
    limit : the value of the darkest orange; its negative is that of the darkest blue
    """
    index = np.round(127 * np.clip(x / limit, -1, 1) + 127).astype(np.uint8).T[::-1]
    height, width = index.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), index], axis=1)  # filter 0 before each
    header = struct.pack(">IIBBBBB", width, height, BITS, INDEXED, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette().tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
