"""Outputs appear whole or not at all; a user's error is one line, a bug keeps its traceback."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import shell

from pipeline.errors import SernetError, listed, run
from pipeline.outputs import named_file, named_folder, staged


def test_targets_are_replaced_when_the_block_ends(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    with staged(tmp_path / "folder", tmp_path / "new" / "file") as (folder, file):
        folder.mkdir()
        (folder / "fresh").touch()
        file.write_text("x")
        assert (tmp_path / "folder" / "old").exists()
    assert [f.name for f in (tmp_path / "folder").iterdir()] == ["fresh"]
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failing_block_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(error), staged(tmp_path / "file", tmp_path / "folder") as (file, folder):
        file.write_text("half")
        folder.mkdir()
        raise error
    assert [f.name for f in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("step", range(11))
def test_an_interruption_of_the_exchange_leaves_each_target_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Before or after each call that changes the disk, or in the middle of a folder's removal."""
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text("old")
    file.write_text("old")
    moments: list[str] = []

    def reached(moment: str) -> None:
        moments.append(moment)
        if len(moments) == step + 1:
            raise KeyboardInterrupt

    def interrupted(owner: object, name: str) -> None:
        call = getattr(owner, name)

        def wrapper(path: Path, *others: Path) -> None:
            reached(f"before {name}")
            if name == "rmtree":
                # Not what waits aside, which the next run brings back if this one is killed now.
                assert path.name == ".folder.partial"
                next(iter(path.iterdir())).unlink()
                reached(f"in {name}")
            call(path, *others)
            reached(f"after {name}")

        monkeypatch.setattr(owner, name, wrapper)

    with pytest.raises(KeyboardInterrupt), staged(folder, file) as partials:
        partials[0].mkdir()
        for name in ("a", "b"):
            (partials[0] / name).write_text("new")
        partials[1].write_text("new")
        interrupted(Path, "rename")
        interrupted(Path, "replace")
        interrupted(shutil, "rmtree")
    assert {f.name for f in tmp_path.iterdir()} == {"folder", "file"}
    assert [(folder / name).read_text() for name in ("a", "b")] in (["old"] * 2, ["new"] * 2)
    assert file.read_text() in ("old", "new")


def test_a_folder_comes_back_where_a_run_was_killed_during_the_exchange(tmp_path: Path) -> None:
    aside = tmp_path / ".folder.old.partial"
    aside.mkdir()
    (aside / "old").touch()
    with pytest.raises(ValueError), staged(tmp_path / "folder"):
        raise ValueError
    assert [f.name for f in tmp_path.iterdir()] == ["folder"]
    assert [f.name for f in (tmp_path / "folder").iterdir()] == ["old"]


def test_a_file_and_a_folder_take_each_others_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").touch()
    (tmp_path / "c").symlink_to("nothing")
    with staged(*(tmp_path / name for name in "abc")) as (a, b, c):
        a.write_text("x")
        b.mkdir()
        c.mkdir()
    assert {f.name for f in tmp_path.iterdir()} == {"a", "b", "c"}
    assert [(tmp_path / name).is_dir() for name in "abc"] == [False, True, True]


@pytest.mark.parametrize("there", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nothing")])
def test_a_folder_that_the_user_names_has_to_be_new(
    tmp_path: Path, there: Callable[[Path], None]
) -> None:
    there(tmp_path / "taken")
    refused = pytest.raises(SernetError, match="is there already, expected a new folder")
    with refused, named_folder(tmp_path / "taken") as folder:
        folder.mkdir()
    with named_folder(tmp_path / "new" / "folder") as folder:
        folder.mkdir()
    assert {f.name for f in tmp_path.iterdir()} == {"taken", "new"}
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["folder"]


def test_a_folder_does_not_give_way_to_a_file_that_the_user_names(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    refused = pytest.raises(SernetError, match="is a folder, expected a file")
    with refused, named_file(tmp_path) as file:
        file.touch()
    with named_file(tmp_path / "file") as file:
        file.write_text("x")
    assert {f.name for f in tmp_path.iterdir()} == {"kept", "file"}


def test_no_device_or_link_gives_way_to_a_file_that_the_user_names(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    refused = pytest.raises(SernetError, match="is not a regular file, expected a file")
    with refused, named_file(pipe) as file:
        file.touch()
    assert pipe.is_fifo()
    link.symlink_to("text")
    for text in ("old", "new"):
        with named_file(link) as file:
            file.write_text(text)
        assert link.is_symlink()
        assert (tmp_path / "text").read_text() == text


def test_a_users_error_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise SernetError("found this, expected that: do so")

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "sernet: error: found this, expected that: do so\n"


def test_a_bug_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_a_long_list_is_cut() -> None:
    assert listed("abc") == "a, b, c"
    assert listed("abcdefg", 2) == "a, b and 5 more"


def test_outside_the_project_it_says_where_to_go(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    done = shell(f"PYTHONPATH='{root}' python -m pipeline ingest", tmp_path, check=False)
    assert done.returncode == 1
    assert "run this from the root of the project" in done.stderr
    assert "Traceback" not in done.stderr
