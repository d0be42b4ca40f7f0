"""The manifest: one row per clip, written by ingest and read by every later stage."""

from pathlib import Path

import pandas as pd

from pipeline import paths

COLUMNS = ["clip", "source", "label", "speaker", "session", "paper_key", "seconds", "sha256"]


def write(rows: pd.DataFrame, path: Path) -> None:
    rows[COLUMNS].to_csv(path, index=False)


def read(path: Path = paths.MANIFEST) -> pd.DataFrame:
    """All columns as text but `seconds`: a speaker `03` is not the number 3."""
    return pd.read_csv(
        paths.require(path),
        dtype={name: str for name in COLUMNS if name != "seconds"},
        keep_default_na=False,
    )


def labels(manifest: pd.DataFrame) -> list[str]:
    """The classes in the one order that all stages use."""
    return sorted(manifest["label"].unique())
