"""The table of memory in the documents, from committed measurements."""

import json
from pathlib import Path

from pipeline import paths

FILE = Path("experiments/memory.json")


def render(file: Path = FILE) -> str:
    """Markdown: each variant with its bytes, its MACs, and the boards that hold it."""
    content = json.loads(paths.require(file).read_text("utf-8"))
    lines = [
        "| clip | variant | arena, bytes | RAM in all, bytes | model, bytes | flash in all, bytes | MACs | boards that hold it |",
        "|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in content["rows"]:
        extra = row["extra_macs_percent"]
        macs = f"{row['macs'] / 1e6:.1f} M" + (f" (+{extra:.2g} %)" if extra else "")
        lacking = [name for name in content["boards"] if name not in row["boards"]]
        held = ", ".join(row["boards"]) or "none"
        if len(lacking) < len(row["boards"]):
            held = (
                f"all {len(row['boards'])} of the table"
                if not lacking
                else f"all but {', '.join(lacking)}"
            )
        lines.append(
            f"| {row['seconds']:g} s | {row['variant']} | {row['arena_bytes']:,} | {row['ram_bytes']:,} | {row['model_bytes']:,} "
            f"| {row['flash_bytes']:,} | {macs} | {held} |"
        )
    return "\n".join(lines)
