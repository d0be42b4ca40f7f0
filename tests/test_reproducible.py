"""Wherever and however the chain runs, and whatever interrupts it, it ends with the same bytes; nothing
versioned knows when or where."""

import os
import random
import signal
import subprocess
from contextlib import suppress
from datetime import date
from pathlib import Path

import psutil
import pytest
from conftest import environment, new_project, ran, results, set_params, shell

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "2")
# What DVC or the stage says when it is killed, some time later: while it starts, trains or fine-tunes one
# fold after another, writes, or hands over to DVC.
KILLED = [
    ("> python -m pipeline.ingest", "dvc"),
    ("> python -m pipeline.features", "stage"),
    ("train: speaker-51:", "dvc"),
    ("quantize: speaker-51:", "stage"),
    ("> python -m pipeline.evaluate", "dvc"),
]
DEADLINE = 300  # seconds for a process that was told to end, on a busy machine


class Run:
    """`dvc repro` in a process group of its own, which does not outlive the block."""

    def __init__(self, folder: Path) -> None:
        self.dvc = subprocess.Popen(
            ["dvc", "repro"], cwd=folder, env=environment(processes=2) | THREADS, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.dvc.pid, signal.SIGKILL)
        self.dvc.communicate()

    def wait_for(self, sign: str) -> None:
        """Return when a line of the output begins with `sign`."""
        assert self.dvc.stdout is not None
        for line in self.dvc.stdout:
            if line.startswith(sign):
                return
        raise AssertionError(f"dvc repro ended before {sign!r}")

    def processes(self) -> list[psutil.Process]:
        """The stage, and the processes that it started."""
        return psutil.Process(self.dvc.pid).children(recursive=True)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second run, by DVC: a folder of quite another name, work shared out among processes, a shell that
    asks for other threads; and killed again and again."""
    folder = new_project(tmp_path_factory.mktemp("zweiter Lauf äöü") / "s")
    chance = random.Random(0)
    for sign, victim in KILLED:
        with Run(folder) as run:
            run.wait_for(sign)
            try:
                run.dvc.wait(chance.uniform(0, 4))
            except subprocess.TimeoutExpired:
                started = run.processes()
                # Between two stages there is none to kill.
                for process in started if victim == "stage" and started else [run.dvc]:
                    process.kill()
                run.dvc.wait(DEADLINE)
                # What is left of a run would write into the next one's outputs.
                _, left = psutil.wait_procs(started, DEADLINE)
                assert left == []
    shell("dvc repro", folder)
    return folder


def test_a_run_elsewhere_that_was_killed_on_its_way_ends_like_an_undisturbed_one(
    finished: Path, second: Path
) -> None:
    one, other = results(finished), results(second)
    assert one.keys() == other.keys()
    assert {"dvc.lock", "metrics.json", "models/tflite/final/model.tflite"} <= one.keys()
    assert [name for name in one if one[name] != other[name]] == []
    assert not list(second.rglob(".*.partial"))


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
