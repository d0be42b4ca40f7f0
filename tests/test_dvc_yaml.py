"""dvc.yaml tells the truth: every module a stage imports, every parameter and file it reads."""

import importlib
import shutil
from pathlib import Path
from typing import Any

import imports
import pytest
from conftest import ROOT
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline import params, paths

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


def test_every_plot_of_scores_says_its_protocol_and_its_split_as_the_parameters_do() -> None:
    leave_out = params.load(ROOT / "params.yaml").split.leave_out
    with Repo(ROOT) as repo:
        (plots,) = (of for file, of in repo.index._plots.items() if file == str(ROOT / "dvc.yaml"))
    of_files = {name: plot for entry in plots for name, plot in entry.items()}
    scores = {"predictions.csv", "reports/speakers.csv", "reports/sizes.csv"}
    scored = [plot["title"] for plot in of_files.values() if scores & set(plot["y"])]
    assert len(scored) == 4
    assert all(title.endswith(f"honest protocol, leave_out {leave_out}") for title in scored)


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
        written |= outs(body)
    assert {
        dep for dep in STAGES[stage]["deps"] if dep.startswith(("data/", "models/", "reports/"))
    } <= written


def outs(body: dict[str, Any]) -> set[str]:
    return {
        out if isinstance(out, str) else next(iter(out))
        for out in [*body["outs"], *body.get("metrics", [])]
    }


def read_and_written(stage: str) -> tuple[set[str], set[str]]:
    """What the stage's modules name of `pipeline.paths`: the stage's own outputs, and the rest.

    A file in a folder that is a dependency stands for the folder.
    """
    body = STAGES[stage]
    named = {getattr(paths, name) for name in imports.written_or_read(f"pipeline.{stage}")}
    written = {path.as_posix() for path in named} & outs(body)
    read = {path for path in named if path.as_posix() not in written}
    deps = {Path(dep) for dep in body["deps"]}
    return {
        next((place for place in (path, *path.parents) if place in deps), path).as_posix()
        for path in read
    }, written


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_reads_is_a_dependency_and_what_it_writes_an_output(stage: str) -> None:
    body = STAGES[stage]
    data = {dep for dep in body["deps"] if not dep.startswith("pipeline/")}
    of_the_user = {"${corpus.path}", "boards.yaml"}
    assert read_and_written(stage) == (data - of_the_user, outs(body))


@pytest.mark.parametrize(
    ("stage", "dep"), [("features", "data/manifest.csv"), ("export", "models/tflite")]
)
def test_a_dependency_that_is_left_out_is_noticed(
    stage: str, dep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = STAGES[stage]
    monkeypatch.setitem(body, "deps", [each for each in body["deps"] if each != dep])
    read, _ = read_and_written(stage)
    assert any(Path(path).is_relative_to(dep) for path in read - set(body["deps"]))


def test_a_file_that_a_module_begins_to_read_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    before, _ = read_and_written("features")
    module = tmp_path / "pipeline" / "audio" / "front_end.py"
    module.write_text(module.read_text() + "\n\nprint(paths.FOLDS)\n")
    read, _ = read_and_written("features")
    assert read - before == {"data/folds.csv"}


def test_a_new_import_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    before = set(imports.reached("pipeline.fold"))
    (tmp_path / "pipeline" / "novel.py").write_text("")
    folding = tmp_path / "pipeline" / "models" / "folding.py"
    folding.write_text("from pipeline import novel\n" + folding.read_text())
    assert set(imports.reached("pipeline.fold")) - before == {"pipeline/novel.py"}
