"""Every choice that is not the default, in one chain; and a budget that stops it."""

import json
import sys
from pathlib import Path

import pandas as pd
from conftest import STAGES, shell, toy_content
from ruamel.yaml import YAML

from pipeline.audio.espeak import synthesize
from pipeline.corpora import emodb
from pipeline.corpora.demo import CorpusRecipe, utterances

# All in one process, which imports TensorFlow once.
DRIVER = f"""
import importlib
from pathlib import Path
from pipeline.errors import run

for stage in {STAGES}:
    importlib.import_module(f"pipeline.{{stage}}").main()
params = Path("params.yaml")
params.write_text(params.read_text("utf-8").replace("over_budget: report", "over_budget: fail")
    .replace("runtime_flash_bytes: 131072", "runtime_flash_bytes: 2097152"), "utf-8")
before = Path("metrics.json").read_bytes()
try:
    run(importlib.import_module("pipeline.evaluate").main)
finally:
    assert Path("metrics.json").read_bytes() == before
"""


def own_table(project: Path, folder: Path) -> None:
    """Recordings in a folder of the user's, with a table that has sessions and a label `None`."""
    recipe = YAML(typ="safe").load(project / "data/corpora/demo/recipe.yaml")
    said = utterances(CorpusRecipe.model_validate(recipe))
    folder.mkdir()
    synthesize(said, folder)
    lines = ["path,label,speaker,session"]
    for utterance in said:
        speaker, label = emodb.read_name(Path(utterance.name))
        lines.append(f"{utterance.name},{label.replace('neutral', 'None')},{speaker},s{speaker}")
    (folder / "clips.csv").write_text("\n".join(lines), "utf-8")


def test_the_chain_with_every_other_choice_and_a_budget_that_stops_it(
    project: Path, tmp_path: Path
) -> None:
    """A user's table, clips of another length, sessions left out, an inner speaker, log-mel with an FFT that the device lacks, focal
    loss, bfloat16."""
    own_table(project, tmp_path / "eigene Aufnahmen")
    (tmp_path / "pipeline").symlink_to(project / "pipeline")
    content = toy_content()
    content["input_len"] = 0.7
    content["corpus"].update(name="csv", path=str(tmp_path / "eigene Aufnahmen"))
    content["split"].update(leave_out="session", inner_validation=True)
    content["features"].update(kind="log_mel", n_fft=1000)
    content["train"].update(loss="focal", precision="bfloat16")
    YAML().dump(content, tmp_path / "params.yaml")
    (tmp_path / "driver.py").write_text(DRIVER)

    stopped = shell(f"'{sys.executable}' driver.py", tmp_path, check=False)
    assert stopped.returncode == 1
    assert "STM32H743 is too small: it needs" in stopped.stderr
    assert "bytes of flash" in stopped.stderr
    assert "Traceback" not in stopped.stderr

    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["corpus"], metrics["folds"], metrics["classes"]) == ("csv", 3, 3)
    assert metrics["agreement"] == {"tflm_vs_litert_reference": 0, "inner_tensors": 0}
    assert metrics["front_end"] == {}
    bundle = (tmp_path / "models/bundle/README.md").read_text("utf-8")
    assert "No bundle: features.n_fft is 1000, CMSIS-DSP's FFT takes" in bundle
    rows = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)
    assert set(rows["actual"]) == {"anger", "None", "sadness"}
    folds = pd.read_csv(tmp_path / "data/folds.csv")
    assert set(folds[folds["fold"] == "final"]["role"]) == {"train"}
    epochs = pd.read_csv(tmp_path / "reports/learning_curves.csv").groupby("fold")["epoch"].max()
    assert epochs["final"] <= epochs["session-s51"] == content["train"]["epochs"]
