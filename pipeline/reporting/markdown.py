"""The README's table of results, from the metrics of committed runs; nothing is typed in by hand."""

import json
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.errors import SernetError

# What the corpora of the committed runs are, by the folder's name.
CORPORA = {
    "demo": "demo, synthesized, 7 classes",
    "emodb": "EMO-DB, 4 classes, full length",
    "emodb-2s": "EMO-DB, 7 classes, first 2 s",
}
BEGIN = "<!-- results: made by `sernet results --write README.md` -->"
END = "<!-- end of results -->"


def render(experiments: Path) -> str:
    """A Markdown table: each run in `experiments` with its protocols, and the paper's own figures."""
    yaml = YAML(typ="safe")
    lines = [
        "| corpus | model | protocol | UA % | WA % | F1 % | ± over folds (UA) | file, bytes |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for file in sorted(experiments.glob("*/metrics.json")):
        metrics = json.loads(file.read_text("utf-8"))
        params = yaml.load(file.with_name("params.yaml"))
        name = file.parent.name
        seconds, epochs = params["input_len"], params["train"]["epochs"]
        corpus = (
            f"{CORPORA.get(name, name)}, {metrics['clips']} clips, {seconds:g} s, {epochs} epochs"
        )
        for key, model, protocol in (
            ("float", "float", "honest"),
            ("ptq", "int8, post-training", "honest"),
            ("qat", "int8, fine-tuned", "honest"),
            ("int8", "**int8, ships**", "**honest**"),
            ("paper_protocol", "float", "paper's: best epoch on the test fold"),
        ):
            row = metrics[key]
            size = f"{metrics['model']['flash_bytes']:,}" if key == "int8" else ""
            lines.append(
                f"| {corpus} | {model} | {protocol} | {row['ua']:.2f} | {row['wa']:.2f} | {row['f1']:.2f} | {row['ua_std']:.2f} | {size} |"
            )
            corpus = ""
    for row in yaml.load(experiments / "paper.yaml"):
        lines.append(
            f"| {row['corpus']} | {row['name']} | paper's: best epoch on the test fold | {row['ua']:.2f} | {row['wa']:.2f} | {row['f1']:.2f} | | {row['megabytes']:g} MB |"
        )
    return "\n".join(lines)


def written_into(document: str, table: str) -> str:
    """`document` with what stands between the two marks replaced by `table`."""
    before, _, rest = document.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SernetError(f"the document lacks the marks of the table, {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
