"""What ends a stage before its time leaves nothing half-written and nothing running."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile
from conftest import ROOT, environment, new_project, shell
from ruamel.yaml import YAML

from pipeline.errors import DiskFullError, SernetError
from pipeline.outputs import staged

DEADLINE = 300  # seconds for a process that was told to end, on a busy machine


# In DVC's place, a process that starts a stage and waits for it.
PARENT = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
STAGE = """
import os, signal, time
from pipeline.errors import run
from pipeline.outputs import staged

def main():
    with staged("out") as (out,):
        out.touch()
        print(os.getpid(), flush=True)
        signal.pause()

if {late}:
    parent = os.getppid()
    print(os.getpid(), flush=True)
    while os.getppid() == parent:
        time.sleep(0.01)
run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end a process with its parent")
@pytest.mark.parametrize(
    ("under_dvc", "late", "ends"), [(True, False, True), (True, True, True), (False, False, False)]
)
def test_a_stage_ends_when_its_dvc_is_killed(
    tmp_path: Path, under_dvc: bool, late: bool, ends: bool
) -> None:
    env = {**environment(), "PYTHONPATH": str(ROOT)} | ({"DVC_STAGE": "x"} if under_dvc else {})
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, "-c", STAGE.format(late=late)],
        cwd=tmp_path, env=env, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    stage = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    _, alive = psutil.wait_procs([stage], DEADLINE if ends else 1)
    assert bool(alive) is not ends
    for process in alive:
        process.kill()
    _, said = parent.communicate()
    assert ("sernet: error: DVC has ended" in said) is late
    assert not (tmp_path / "out").exists()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """An empty disk of one page's room to spare, and a function that sets its size in bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> subprocess.CompletedProcess[str]:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, text=True)

    if shutil.which("mount") is None or (done := mount("size=16k")).returncode != 0:
        pytest.skip("a small disk is made by mounting a tmpfs, which is not permitted here")
    assert done.returncode == 0

    def resize(size: int) -> None:
        grown = mount(f"remount,size={size}")
        assert grown.returncode == 0, grown.stderr

    yield folder, resize
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def npy(file: Path) -> None:
    with file.open("wb") as content:  # to a path without .npy it adds that
        np.save(content, np.ones(10**5))


def h5(file: Path) -> None:
    with h5py.File(file, "w") as content:
        content["x"] = np.ones(10**5)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write_bytes(bytes(10**5)),
        npy,
        lambda file: pd.DataFrame({"x": range(10**5)}).to_csv(file),
        lambda file: soundfile.write(file, np.zeros(10**5), 16000, format="WAV"),
        h5,
    ],
    ids=["bytes", "numpy", "csv", "wav", "hdf5"],
)
def test_a_full_disk_is_one_line_whichever_library_finds_it_full(
    disk: tuple[Path, Callable[[int], None]], write: Callable[[Path], None]
) -> None:
    folder, resize = disk
    target = folder / "x"
    with (
        pytest.raises(DiskFullError, match=re.escape(f"the disk of {folder} is full")) as caught,
        staged(target) as (file,),
    ):
        write(file)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []
    resize(2**22)
    with staged(target) as (file,):
        write(file)
    assert target.stat().st_size >= 10**5


def test_a_bug_on_a_disk_with_room_stays_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "x"):
        raise ZeroDivisionError
    with pytest.raises(SernetError, match="no such voice"), staged(tmp_path / "x"):
        raise SernetError("no such voice")


def lock(folder: Path) -> dict[str, Any]:
    """What dvc.lock says of the stages up to train."""
    stages = YAML(typ="safe").load(folder / "dvc.lock")["stages"]
    return {name: stages[name] for name in ("ingest", "validate", "features", "train")}


def test_a_disk_that_fills_up_costs_what_did_not_fit_and_no_more(
    finished: Path, disk: tuple[Path, Callable[[int], None]]
) -> None:
    mounted, resize = disk
    resize(2**26)
    folder = new_project(mounted / "sernet")
    size = shutil.disk_usage(folder).used + 2**19
    said = []
    while True:
        resize(size)
        done = shell("dvc repro train", folder, check=False)
        if done.returncode == 0:
            break
        said.append(done.stderr)
        assert not list(folder.rglob(".*.partial"))
        size = int(size * 1.3)
    # It is the stage that finds the disk full, or DVC on the way to its cache.
    assert any("is full, and nothing half-written was left" in text for text in said)
    assert all("is full" in text or "No space left on device" in text for text in said)
    assert [text for text in said if "Traceback" in text or "Warning" in text] == []
    assert lock(folder) == lock(finished)
    assert "up to date" in shell("dvc status train", folder).stdout
