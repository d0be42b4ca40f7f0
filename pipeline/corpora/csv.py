"""The user's own recordings, named by a table.

The table has the columns `path` (relative to the table, or absolute), `label` and `speaker`, and
may have `session`. `corpus.path` is the table, or the folder that holds it as its only csv file;
with the folder, DVC also notices when a recording changes.
"""

import csv
from pathlib import Path

from pipeline.corpora import Clip
from pipeline.errors import CorpusError, listed

LABELS = None  # the user names them
REQUIRED = ("path", "label", "speaker")


def _table(path: Path) -> Path:
    if path.is_file():
        return path
    tables = sorted(file for file in path.glob("*.csv") if not file.name.startswith("."))
    if len(tables) != 1:
        found = listed(table.name for table in tables) or "none"
        raise CorpusError(
            f"corpus.path is {path}: expected a csv file, or a folder with one; found {found}. "
            "Write a table with the columns path, label, speaker"
        )
    return tables[0]


def _rows(table: Path) -> list[dict[str, str]]:
    """The lines of the table as dictionaries; CorpusError names the line that is not as it should be."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True, restkey="", restval=None)
            columns = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise CorpusError(
            f"{table}: not a table in UTF-8 with commas between columns: {error}"
        ) from None
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise CorpusError(
            f"{table}: no column {listed(missing)}; found {listed(columns, 10) or 'nothing'}, "
            f"expected {', '.join(REQUIRED)} and, if there are any, session"
        )
    if not rows:
        raise CorpusError(f"{table}: no rows; write one for each recording")
    for line, row in rows:
        if ("" in row and "" not in columns) or None in row.values():
            raise CorpusError(
                f"{table}: line {line} has another number of fields than the {len(columns)} columns; "
                "put quotes around a field with a comma"
            )
        for name in REQUIRED:
            if not row[name].strip():
                raise CorpusError(f"{table}: no {name} in line {line}")
    return [row for _, row in rows]


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a longer name than any file has
        return False


def find(path: Path, workspace: Path) -> list[Clip]:
    """The clips that the table names."""
    table = _table(path)
    rows = _rows(table)
    files = [table.parent / row["path"].strip() for row in rows]
    absent = [file for file in files if not _is_there(file)]
    if absent:
        raise CorpusError(
            f"{table}: {len(absent)} of {len(files)} files are not there: {listed(absent, 3)}; "
            "paths are relative to the table"
        )
    return [
        Clip(
            id="-".join(Path(row["path"].strip()).with_suffix("").parts).strip("/-"),
            file=file,
            source=row["path"].strip(),
            label=row["label"].strip(),
            speaker=row["speaker"].strip(),
            session=row.get("session", "").strip(),
        )
        for row, file in zip(rows, files, strict=True)
    ]
