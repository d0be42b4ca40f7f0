"""The user's own recordings, named by a table.

The table has the columns `path` (relative to the table, or absolute), `label` and `speaker`, and
may have `session`. `corpus.path` is the table, or the folder that holds it as its only csv file;
with the folder, DVC also notices when a recording changes.
"""

from pathlib import Path

import pandas as pd

from pipeline.corpora.clip import Clip
from pipeline.errors import CorpusError, listed

LABELS = None  # the user names them
REQUIRED = ("path", "label", "speaker")


def _table(path: Path) -> Path:
    if path.is_file():
        return path
    tables = sorted(path.glob("*.csv"))
    if len(tables) != 1:
        found = listed(table.name for table in tables) or "none"
        raise CorpusError(
            f"corpus.path is {path}: expected a csv file, or a folder with one; found {found}. "
            "Write a table with the columns path, label, speaker"
        )
    return tables[0]


def find(path: Path, workspace: Path) -> list[Clip]:
    """The clips that the table names."""
    table = _table(path)
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CorpusError(f"{table}: not a table in UTF-8 with commas between columns: {error}") from None  # fmt: skip
    missing = [name for name in REQUIRED if name not in rows]
    if missing:
        raise CorpusError(
            f"{table}: no column {listed(missing)}; found {listed(rows.columns, 10)}, "
            f"expected {', '.join(REQUIRED)} and, if there are any, session"
        )
    if rows.empty:
        raise CorpusError(f"{table}: no rows; write one for each recording")
    for name in REQUIRED:
        lines = [str(index + 2) for index in rows.index[rows[name].str.strip() == ""]]
        if lines:
            raise CorpusError(f"{table}: no {name} in line {listed(lines)}")
    files = [table.parent / name for name in rows["path"]]
    absent = [file for file in files if not file.is_file()]
    if absent:
        raise CorpusError(
            f"{table}: {len(absent)} of {len(files)} files are not there: {listed(absent, 3)}; "
            "paths are relative to the table"
        )
    sessions = rows["session"] if "session" in rows else [""] * len(rows)
    return [
        Clip(
            id="-".join(Path(row.path).with_suffix("").parts).strip("/-"),
            file=file,
            source=row.path,
            label=row.label.strip(),
            speaker=row.speaker.strip(),
            session=session.strip(),
        )
        for row, file, session in zip(rows.itertuples(), files, sessions, strict=True)
    ]
