"""The command line where no model is needed."""

import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, shell

from pipeline import cli, doctor, manifest
from pipeline.reporting import runs


@pytest.mark.parametrize(
    ("stage", "missing"),
    [("fold", "data/manifest.csv"), ("validate", "data/clips"), ("features", "data/clips")],
)
def test_a_stage_without_its_inputs_names_them(
    project: Path, tmp_path: Path, stage: str, missing: str
) -> None:
    for name in ("pipeline", "params.yaml"):
        (tmp_path / name).symlink_to(project / name)
    if missing != "data/manifest.csv":
        (tmp_path / "data").mkdir()
        row = dict.fromkeys(manifest.COLUMNS, "x") | {"seconds": 1.0}
        manifest.write(pd.DataFrame([row]), tmp_path / "data/manifest.csv")
    failed = shell(f"python -m pipeline {stage}", tmp_path, check=False)
    assert failed.returncode == 1
    said = f"no {missing}; an earlier stage writes it: run `dvc repro`"
    assert failed.stderr == f"sernet: error: {said}\n"


def test_help_imports_nothing_heavy(project: Path) -> None:
    code = (
        "import sys; from pipeline.cli import app; import typer.testing;"
        "print(typer.testing.CliRunner().invoke(app, ['--help']).exit_code,"
        "[m for m in ('tensorflow', 'librosa', 'pandas', 'numpy') if m in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "0 []"


@pytest.mark.parametrize(
    ("importing_tensorflow", "status", "said"),
    [
        # A shell that starts the tests in the background lets them ignore the signal.
        (
            "signal.signal(signal.SIGINT, signal.default_int_handler)\nos.kill(os.getpid(), signal.SIGINT)",
            -signal.SIGINT,
            r"sernet: interrupted, .*\n",
        ),
        ("raise RuntimeError('a bug')", 1, r"(?s)Traceback .*RuntimeError: a bug\n"),
    ],
)
def test_an_interrupt_while_a_stage_still_imports_is_one_line(
    tmp_path: Path, importing_tensorflow: str, status: int, said: str
) -> None:
    (tmp_path / "tensorflow.py").write_text(f"import os, signal\n{importing_tensorflow}\n")
    stage = subprocess.run(
        [sys.executable, "-m", "pipeline.train"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert stage.returncode == status
    assert re.fullmatch(said, stage.stderr)


def test_doctor_finds_this_environment_whole(project: Path) -> None:
    output = shell("python -m pipeline doctor", project).stdout
    assert re.search(r"ok tensorflow +2\.", output)
    assert "!!" not in output


def test_doctor_names_a_project_and_a_package_that_are_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no corpus to look at
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["nowhere-to-be-found>=1"])
    assert doctor.Finding("nowhere-to-be-found", "missing", "make env") in doctor.examine()

    def not_installed(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", not_installed)
    assert doctor.Finding("sernet", "not installed", "make env") in doctor.examine()


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Run `sernet` in this process, in `tmp_path`; what it says on stderr before it ends with 1."""

    def run(arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["sernet", *arguments.split()])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1
        return capsys.readouterr().err

    return run


def test_a_document_that_is_not_utf_8_is_one_line(
    tmp_path: Path, refused: Callable[[str], str]
) -> None:
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    (tmp_path / "page.md").write_bytes("größer".encode("latin-1"))
    failed = refused("results --write page.md")
    assert "page.md is not UTF-8, expected a Markdown file: name one" in failed
    assert failed.count("\n") == 1


@pytest.mark.parametrize(
    ("where", "model", "said"),
    [
        ("nowhere", "int8", "no run at 'nowhere': looked for a file"),
        ("run.csv", "int4", "run.csv has no predictions of 'int4', expected one of: int8"),
        ("empty.csv", "int8", "empty.csv is no table of predictions: expected a predictions.csv"),
        ("other.csv", "int8", "other.csv is no table of predictions, it lacks clip, fold, speaker"),
        (
            "folds.csv",
            "int8",
            "the runs divide the same clips into other folds, leave one speaker out (2 folds) and leave one session out (1 folds)",
        ),
    ],
)
def test_a_run_that_cannot_be_compared_is_one_line(
    tmp_path: Path, refused: Callable[[str], str], where: str, model: str, said: str
) -> None:
    head = "clip,fold,speaker,actual,predicted_int8\n"
    (tmp_path / "run.csv").write_text(f"{head}a,session-1,s,x,x\nb,session-1,t,x,x\n")
    (tmp_path / "folds.csv").write_text(f"{head}a,speaker-s,s,x,x\nb,speaker-t,t,x,x\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    failed = refused(f"compare {where} run.csv --model {model}")
    assert said in failed
    assert failed.count("\n") == 1


def test_a_comparison_says_which_protocol_and_which_split_it_is_of() -> None:
    run = str(ROOT / "experiments" / "emodb2s-ce")
    honest, papers = (runs.compared(run, run, model) for model in ("int8", "paper_protocol"))
    assert "int8, protocol: honest, 535 clips, 10 speakers" in honest
    assert "paper_protocol, protocol: best test epoch, 535 clips" in papers
    assert "honest" not in papers
    assert "split: leave one speaker out" in honest
    assert "is no more than chance at the 5 % level." in honest
    few = runs.compared(*[str(ROOT / "experiments" / "demo")] * 2, "int8")
    assert "by 4 speakers, of whom no p is below 0.1250." in " ".join(few.split())
    assert re.search(r"\+0\.00 +none +1\.0000", few)
    assert max(len(line) for line in few.splitlines() if not line.startswith(("A ", "B "))) <= 80


def test_outside_the_project_the_demo_says_where_to_go(refused: Callable[[str], str]) -> None:
    assert "run this from the root of the project" in refused("demo x")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("params --write docs", "docs is a folder, expected a Markdown file"),
        ("params --write none.md", "no none.md, expected a Markdown file"),
        ("tables --picture folder", "folder is a folder, expected a file to write"),
        (
            "tables --picture boards.json/x.svg",
            "cannot write boards.json/x.svg (Not a directory: boards.json/.x.svg.partial)",
        ),
        ("budget", "no reports/evaluation.json; an earlier stage writes it: run `dvc repro`"),
        ("report --metrics none.json", "no none.json, expected a metrics.json"),
        ("report --head HEAD", "--head says what is compared with --base"),
        ("report --html x.html --base HEAD", "--html writes one run and --base compares two"),
        ("describe --board nano33ble", "--board says whose RAM the picture shows"),
        (
            "describe folder --picture x.svg --board typo",
            "--board is 'typo', expected one of nano33ble",
        ),
        (
            "report --metrics boards.json --html x.html",
            "--metrics names what is printed and --html",
        ),
        ("report --metrics boards.json --base HEAD", "--metrics names what is printed and --base"),
        ("report --no-audio", "--no-audio says what stands in --html, which is not given"),
        ("demo folder", "folder is there already, expected a new folder"),
        (
            "demo boards.json/x",
            "cannot make boards.json/x (Not a directory: boards.json/.x.partial)",
        ),
        ("export -o folder", "folder is there already, expected a new folder"),
        ("export -o boards.json/x", "cannot make boards.json/x (Not a directory: boards.json/.x.p"),
        ("describe folder", "folder is a folder, expected an int8 flatbuffer"),
        ("latency none.tflite", "no none.tflite, expected an int8 flatbuffer"),
        ("tile model.tflite --ram 1KB -o folder", "not a TFLite model"),
        ("predict x.wav --model model.tflite", "model.json is not the card of a model"),
        ("report --metrics boards.json", "boards.json is not a result, expected a metrics.json"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    tmp_path: Path, refused: Callable[[str], str], command: str, said: str
) -> None:
    for name in ("data", "docs", "experiments", "params.yaml", "dvc.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("boards.json", "model.tflite", "model.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").touch()
    failed = refused(command)
    assert failed.startswith(f"sernet: error: {said}")
    assert failed.count("\n") == 1
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["kept"]
