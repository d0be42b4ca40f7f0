"""Two clean runs on one machine give the same bytes; nothing versioned knows when or where."""

from datetime import date
from pathlib import Path

import pytest
from conftest import new_project, ran, results, set_params, shell


@pytest.fixture(scope="module")
def second(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second clean run, by DVC: a folder of quite another name, work shared out among processes, a
    shell that asks for other threads."""
    folder = new_project(tmp_path_factory.mktemp("zweiter Lauf äöü") / "s")
    threads = "OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 TF_NUM_INTRAOP_THREADS=2"
    shell(f"{threads} dvc repro", folder, processes=2)
    return folder


def test_two_clean_runs_give_the_same_lock_models_and_metrics(finished: Path, second: Path) -> None:
    one, other = results(finished), results(second)
    assert one.keys() == other.keys()
    assert {"dvc.lock", "metrics.json", "models/tflite/final/model.tflite"} <= one.keys()
    assert [name for name in one if one[name] != other[name]] == []


def test_another_seed_gives_other_models(finished: Path, copied: Path) -> None:
    set_params(copied, seed=1)
    assert ran(shell("dvc repro train", copied).stdout) == ["train"]
    one, other = results(finished), results(copied)
    changed = {name for name in one if one[name] != other[name]}
    assert {f"models/float/speaker-{n}.h5" for n in (51, 52, 53)} <= changed
    assert not {name for name in changed if name.startswith("data/")}


def test_no_versioned_file_knows_its_folder_or_the_date(second: Path) -> None:
    today = date.today()
    marks = [str(second), second.parent.name, f"{today:%Y-%m-%d}", f"{today:%Y%m%d}", f"{today:%d %b %Y}"]  # fmt: skip
    found = [
        (name, mark)
        for name, content in results(second).items()
        for mark in marks
        if mark.encode() in content
    ]
    assert found == []
