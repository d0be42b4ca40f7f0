"""The whole chain on a toy corpus, through the command line and through DVC."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import ran, shell
from test_honest import NEAR, probabilities

from pipeline.tflite import graph, operators


@pytest.fixture(scope="module")
def done(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished project in a path that is not ASCII; a test that changes it puts it back."""
    folder = tmp_path_factory.mktemp("ein fertiges Projekt mit Umlaut äöü") / "sernet"
    return shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("__pycache__"))


def test_every_stage_writes_what_dvc_yaml_says(done: Path) -> None:
    assert "up to date" in shell("dvc status", done).stdout
    for name in ("models/tflite/final/model.tflite", "metrics.json", "predictions.csv"):
        assert (done / name).is_file()
    assert not list(done.rglob(".*.partial"))


def test_metrics_have_the_fixed_names(done: Path) -> None:
    metrics = json.loads((done / "metrics.json").read_text())
    assert (metrics["corpus"], metrics["clips"]) == ("demo", 18)
    assert (metrics["classes"], metrics["folds"]) == (3, 3)
    for model in ("float", "float16", "ptq", "qat", "int8", "paper_protocol"):
        assert all(0 <= metrics[model][score] <= 100 for score in ("ua", "wa", "f1"))
    assert 0 <= metrics["fold_error"] < 1e-4
    assert metrics["model"].keys() == {"params", "macs", "flash_bytes"}
    size = (done / "models/tflite/final/model.tflite").stat().st_size
    assert metrics["model"]["flash_bytes"] == size
    mcu = metrics["mcu"]
    assert mcu["fits"] is True
    assert (mcu["ram_limit_bytes"], mcu["flash_limit_bytes"]) == (524_288, 2_097_152)
    # What everything else leaves of the RAM is what the arena may have.
    assert mcu["arena_limit_bytes"] == 524_288 - (mcu["ram_bytes"] - mcu["arena_bytes"])
    assert 0 < mcu["arena_bytes"] <= mcu["arena_limit_bytes"]
    assert set(metrics["front_end"]) >= {"librosa", "cmsis_f32", "cmsis_q15"}
    assert metrics["agreement"] == {"tflm_vs_litert_reference": 0, "inner_tensors": 0}


def test_every_clip_is_predicted_once_and_the_scores_follow_from_that(done: Path) -> None:
    rows = pd.read_csv(done / "predictions.csv")
    assert sorted(rows["clip"]) == sorted(pd.read_csv(done / "data/manifest.csv")["clip"])
    probabilities = rows.filter(like="p_")
    assert list(probabilities) == ["p_anger", "p_neutral", "p_sadness"]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=0.02)
    hits = rows["predicted_int8"] == rows["actual"]
    metrics = json.loads((done / "metrics.json").read_text())
    assert metrics["int8"]["wa"] == pytest.approx(100 * hits.mean(), abs=0.01)
    recalls = hits.groupby(rows["actual"]).mean()
    assert metrics["int8"]["ua"] == pytest.approx(100 * recalls.mean(), abs=0.01)


def test_the_deployable_model_is_int8_throughout(done: Path) -> None:
    read = graph.read((done / "models/tflite/final/model.tflite").read_bytes())
    assert not [tensor for tensor in read.tensors if tensor.type.startswith("FLOAT")]
    assert "QUANTIZE" not in read.histogram()
    assert {read.tensors[t].type for t in (*read.inputs, *read.outputs)} == {"INT8"}


def test_a_second_run_reruns_nothing(done: Path) -> None:
    assert ran(shell("dvc repro", done).stdout) == []


def test_another_board_never_retrains_can_be_compared_and_a_small_one_is_over_budget(
    done: Path,
) -> None:
    (done / "boards.yaml").write_text(
        "tiny: {name: A tiny board, core: M0, mhz: 1, ram: 4096, flash: 65536, source: none}\n", "utf-8"
    )  # fmt: skip
    output = shell("dvc exp run -S evaluate.board=tiny --name tiny", done).stdout
    assert ran(output) == ["evaluate", "export"]
    (scored,) = [line for line in output.splitlines() if line.startswith("evaluate: UA")]
    assert "honest protocol: float" in scored and scored.endswith("leave one speaker out")
    metrics = json.loads((done / "metrics.json").read_text())
    assert metrics["mcu"]["fits"] is False
    gate = shell("python -m pipeline budget", done, check=False)
    assert gate.returncode == 1
    assert "A tiny board is too small: " in gate.stderr
    assert "bytes of RAM" in gate.stderr
    assert "too many" in gate.stdout

    changed = json.loads(shell("dvc params diff --json HEAD tiny", done).stdout)
    board = changed["params.yaml"]["evaluate.board"]
    assert board.items() >= {"old": "stm32h743", "new": "tiny"}.items()
    diff = json.loads(shell("dvc metrics diff --json HEAD tiny", done).stdout)
    assert diff["metrics.json"]["mcu.ram_limit_bytes"]["diff"] == 4096 - 524_288
    shell("dvc plots diff HEAD tiny", done)
    assert "learning" in (done / "dvc_plots" / "index.html").read_text("utf-8")
    assert "tiny" in shell("dvc exp show --csv", done).stdout
    compared = shell("python -m pipeline compare HEAD tiny --model float", done).stdout
    assert "18 clips, 3 speakers" in compared
    assert max(len(line) for line in compared.splitlines()) <= 80
    shell("git checkout -q . && dvc checkout -q", done)


def test_predict_prints_label_and_probabilities(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = next((done / "data/clips").glob("*Wa.wav"))
    y, rate = soundfile.read(clip)
    stereo = tmp_path / "zwei Kanäle.flac"
    soundfile.write(stereo, np.stack([y, y], axis=1), rate, subtype="PCM_24")
    output = shell(f"python -m pipeline predict --json '{clip}' '{stereo}'", done).stdout
    one, other = (json.loads(line) for line in output.splitlines())
    assert one["probabilities"] == other["probabilities"]
    assert one["label"] == max(one["probabilities"], key=one["probabilities"].__getitem__)
    # The int8 model of the pipeline, on the features of the pipeline.
    monkeypatch.chdir(done)
    labels = json.loads(Path("models/tflite/final/model.json").read_text())["labels"]
    (expected,) = probabilities("final", [clip.stem])
    assert [one["probabilities"][label] for label in labels] == pytest.approx(expected, abs=NEAR)
    human = shell(f"python -m pipeline predict '{clip}'", done).stdout
    assert one["label"] in human
    assert max(len(line) for line in human.splitlines()[1:]) <= 80


def test_predict_of_no_recording_is_one_line(done: Path, tmp_path: Path) -> None:
    for name in ("missing.wav", "notes.txt"):
        (tmp_path / "notes.txt").write_text("no sound")
        failed = shell(f"python -m pipeline predict '{tmp_path / name}'", done, check=False)
        assert failed.returncode == 1
        assert failed.stderr.startswith("sernet: error: ")
        assert failed.stderr.count("\n") == 1


def test_report_fits_a_terminal_of_80_columns(done: Path) -> None:
    lines = shell("python -m pipeline report", done).stdout.splitlines()
    assert any("paper's protocol" in line for line in lines)
    metrics = json.loads((done / "metrics.json").read_text())
    over_folds = lines[lines.index("UA % over folds, mean ± deviation, honest:") + 1]
    assert (
        f"float {metrics['float']['ua_folds']:.2f} ± {metrics['float']['ua_std']:.2f}" in over_folds
    )
    assert max(len(line) for line in lines) <= 80


def test_the_page_of_a_run_has_its_figures(done: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    printed = shell(f"python -m pipeline report --html '{page}'", done).stdout
    assert "contains recordings" in printed
    text = page.read_text("utf-8")
    metrics = json.loads((done / "metrics.json").read_text())
    assert f"{metrics['int8']['ua']:.2f}" in text
    assert "data:audio" in text
    shell(f"python -m pipeline report --no-audio --html '{page}'", done)
    assert "data:audio" not in page.read_text("utf-8")


def test_a_change_is_compared_with_its_base_and_a_breach_is_an_exit_status(done: Path) -> None:
    same = shell("python -m pipeline report --base HEAD", done)
    assert "leave one speaker out" in same.stdout
    metrics = done / "metrics.json"
    content = json.loads(metrics.read_text())
    content["mcu"]["ram_bytes"] = content["mcu"]["ram_limit_bytes"] + 1
    metrics.write_text(json.dumps(content))
    broken = shell("python -m pipeline report --base HEAD", done, check=False)
    assert broken.returncode == 1
    assert "sernet: gate: " in broken.stderr
    assert "RAM" in broken.stderr
    shell("git checkout -q .", done)


def test_the_bundle_holds_the_model_that_fits_the_board(done: Path, tmp_path: Path) -> None:
    assert (done / "models/bundle/README.md").is_file()
    printed = shell(f"python -m pipeline export -o '{tmp_path / 'bundle'}'", done).stdout
    assert "README.md" in printed
    ours, again = (
        {file.name: file.read_bytes() for file in folder.iterdir()}
        for folder in (done / "models/bundle", tmp_path / "bundle")
    )
    assert ours == again
    failed = shell(f"python -m pipeline export -o '{tmp_path / 'bundle'}'", done, check=False)
    assert "is there already, expected a new folder" in failed.stderr


@pytest.mark.parametrize("command", ["budget", "boards", "describe", "latency"])
def test_what_is_said_of_the_board_fits_80_columns(done: Path, command: str) -> None:
    lines = shell(f"python -m pipeline {command}", done).stdout.splitlines()
    assert lines
    assert max(len(line) for line in lines) <= 80


def test_a_model_is_tiled_by_the_command_line(done: Path, tmp_path: Path) -> None:
    model, tiled = done / "models/tflite/final/model.tflite", tmp_path / "tiled.tflite"
    failed = shell(f"python -m pipeline tile '{model}' --ram 1KB -o '{tiled}'", done, check=False)
    assert failed.returncode == 1
    assert "the smallest arena found is" in failed.stderr
    table = failed.stdout
    assert "before" in table
    assert "arena (bytes)" in table
    operators.check_int8(tiled.read_bytes())
    bad = shell(f"python -m pipeline tile '{model}' --ram lots -o '{tiled}'", done, check=False)
    assert "'lots' is no size of memory" in bad.stderr


def test_a_corpus_that_is_not_there_is_one_clear_line_through_dvc(done: Path) -> None:
    failed = shell("dvc exp run -S corpus.name=emodb", done, check=False)
    assert failed.returncode != 0
    assert "no EMO-DB at corpus.path: looked for wav files in data/corpora/demo" in failed.stderr
    assert "Traceback" not in failed.stderr
    shell("git checkout -q . && dvc checkout -q", done)


def test_a_path_that_is_not_there_is_explained_by_the_doctor(done: Path) -> None:
    setting = "-S corpus.name=emodb -S corpus.path=/nowhere/emodb"
    failed = shell(f"dvc exp run {setting}", done, check=False)
    assert failed.returncode != 0
    assert "No such file or directory" in failed.stderr
    assert "Traceback" not in failed.stderr
    sick = shell("python -m pipeline doctor", done, check=False)
    assert sick.returncode == 1
    assert "looked for wav files in /nowhere/emodb/wav" in sick.stdout
    shell("git checkout -q . && dvc checkout -q", done)
