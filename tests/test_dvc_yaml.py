"""dvc.yaml tells the truth: every module a stage imports, every parameter it reads."""

import importlib
import shutil
from pathlib import Path

import imports
import pytest
from conftest import ROOT
from ruamel.yaml import YAML

STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


def code(deps: list[str]) -> set[str]:
    """The files of code that `deps` name, those in a folder that is named included."""
    files: set[str] = set()
    for dep in deps:
        if dep.startswith("pipeline/"):
            path = ROOT / dep
            found = path.rglob("*") if path.is_dir() else [path]
            files |= {
                file.relative_to(ROOT).as_posix()
                for file in found
                if file.is_file() and "__pycache__" not in file.parts
            }
    return files


def test_the_eight_stages_and_the_export_stand_in_order() -> None:
    assert list(STAGES) == [
        "ingest", "validate", "features", "train", "fold", "quantize", "convert", "evaluate",
        "export",
    ]  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_every_imported_module_is_a_dependency_and_no_other(stage: str) -> None:
    assert code(STAGES[stage]["deps"]) == set(imports.reached(f"pipeline.{stage}"))


@pytest.mark.parametrize("stage", STAGES)
def test_every_declared_parameter_is_a_parameter_of_the_stage(stage: str) -> None:
    declared = set(STAGES[stage].get("params", []))
    read = set(importlib.import_module(f"pipeline.{stage}").PARAMS)
    assert declared == read


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_only_what_earlier_stages_write(stage: str) -> None:
    written: set[str] = set()
    for name, body in STAGES.items():
        if name == stage:
            break
        written |= {out if isinstance(out, str) else next(iter(out)) for out in body["outs"]}
    assert {
        dep for dep in STAGES[stage]["deps"] if dep.startswith(("data/", "models/", "reports/"))
    } <= written


def test_a_new_import_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    before = set(imports.reached("pipeline.fold"))
    (tmp_path / "pipeline" / "novel.py").write_text("")
    folding = tmp_path / "pipeline" / "models" / "folding.py"
    folding.write_text("from pipeline import novel\n" + folding.read_text())
    assert set(imports.reached("pipeline.fold")) - before == {"pipeline/novel.py"}
