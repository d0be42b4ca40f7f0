"""Progress: a bar on a terminal, whole lines in a log."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from conftest import ROOT

from pipeline.progress import Progress

WORK = """
from pipeline.progress import Progress
with Progress(total=4, name="train", unit="epoch") as bar:
    for fold in ("03", "08"):
        bar.update()
        bar.update()
        bar.note(f"train: {fold}: kept")
for _ in Progress(range(100), name="ingest", unit="clip"):
    pass
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that progress sees, in seconds; a test sets it."""
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def test_a_pipe_gets_whole_lines_that_name_the_time_left() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORK], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    text = done.stdout.decode()
    assert not re.search(r"[\r\x1b\x08]", text)
    time = r"\d\d:\d\d"
    assert re.fullmatch(
        "train: 03: kept\n"
        f"train: 2 of 4 epochs, {time} so far, {time} left\n"
        "train: 08: kept\n"
        f"train: 4 of 4 epochs, {time} so far, {time} left\n",
        text,
    )


def test_a_terminal_gets_a_bar_with_the_time_left(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", WORK], cwd=ROOT, stdout=out, stderr=theirs
        )
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while piece := terminal.read(4096):
                shown += piece
        except OSError:  # Linux's word for a terminal that nobody writes to any more
            pass
    assert process.wait() == 0
    assert re.search(r"\rtrain: 100%\|█+\| 4/4 \[\d\d:\d\d<\d\d:\d\d", shown.decode())
    assert "so far" not in shown.decode()
    assert (tmp_path / "out").read_text() == "train: 03: kept\ntrain: 08: kept\n"


def test_a_log_gets_a_line_every_half_minute(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in Progress(range(12), name="features", unit="clip"):
        clock[0] += 10
    assert capsys.readouterr().err.splitlines() == [
        "features: 3 of 12 clips, 00:30 so far, 01:30 left",
        "features: 6 of 12 clips, 01:00 so far, 01:00 left",
        "features: 9 of 12 clips, 01:30 so far, 00:30 left",
        "features: 12 of 12 clips, 02:00 so far, 00:00 left",
    ]


def test_work_of_seconds_leaves_no_line(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in Progress(range(12), name="features", unit="clip"):
        clock[0] += 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("at_once", "left"), [("reach", "07:00"), ("update", "00:57")])
def test_what_an_earlier_run_had_done_is_not_taken_for_speed(
    clock: list[float], capsys: pytest.CaptureFixture[str], at_once: str, left: str
) -> None:
    with Progress(total=100, name="train", unit="epoch") as bar:
        getattr(bar, at_once)(50)
        clock[0] += 20
        bar.update(2)
        clock[0] += 60
        bar.update(6)
    assert f"train: 58 of 100 epochs, 01:20 so far, {left} left" in capsys.readouterr().err


def test_nothing_else_in_the_pipeline_draws_a_bar() -> None:
    drawing = [
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "pipeline").rglob("*.py")
        if re.search(r"^(from|import) tqdm\b", file.read_text("utf-8"), re.MULTILINE)
    ]
    assert drawing == ["pipeline/progress.py"]
