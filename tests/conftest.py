"""Toy parameters: everything small enough that a whole chain runs in seconds."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from ruamel.yaml import YAML
from scipy.io import wavfile

from pipeline import params
from pipeline.params import Params

ROOT = Path(__file__).parent.parent
CORPORA = Path(os.environ.get("SERNET_CORPORA", ROOT.parent / "shared" / "corpora"))
STAGES = ["ingest", "validate", "features", "train", "fold", "quantize", "convert", "evaluate", "export"]  # fmt: skip
# Files whose tests take longest come first, or one processor would wait for them at the end. The first
# does not need the finished project, which the other makes in that time.
LONGEST = ["choices", "pipeline", "reproducible", "interruptions", "sharing", "reruns", "honest"]
HANGS = 900  # seconds after which a command is taken to hang, on a busy machine

TOY: dict[str, dict[str, Any]] = {
    "model": {
        "members": 1,
        "stem_filters": 4,
        "stem_pool": [2, 2],
        "body": "standard",
        "body_filters": [4, 6, 8, 8],
        "head_filters": 12,
    },
    "train": {"epochs": 2, "hold_epochs": 1, "batch_size": 8},
    "quantize": {"epochs": 1, "batch_size": 8},
    "convert": {"representative_clips": 8},
    "evaluate": {"exact_clips": 2},
}
RECIPE = {
    "sentences": {"a01": "Der Lappen liegt auf dem Eisschrank."},
    "speakers": {"51": "de+m3", "52": "de+anika", "53": "de+m7"},
    "versions": 2,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def toy_content() -> dict[str, Any]:
    """params.yaml with toy values, as a dictionary."""
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content["input_len"] = 1
    for section, values in TOY.items():
        content[section].update(values)
    return content


@pytest.fixture
def toy(tmp_path: Path) -> Params:
    """Toy parameters, loaded as a stage loads them."""
    file = tmp_path / "toy.yaml"
    YAML().dump(toy_content(), file)
    return params.load(file)


@pytest.fixture
def write_params(tmp_path: Path) -> Callable[..., Path]:
    """Write a params.yaml in which entries, given by their dotted names, are changed."""

    def write(**changes: Any) -> Path:
        file = tmp_path / "params.yaml"
        YAML().dump(toy_content(), file)
        set_params(tmp_path, **changes)
        return file

    return write


@pytest.fixture
def tone() -> np.ndarray:
    """One second at 16 kHz of a tone that gets louder [shape=(16000,)], float32."""
    t = np.arange(16000) / 16000
    return (0.5 * t * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


@pytest.fixture
def emodb_folder(tmp_path: Path, tone: np.ndarray) -> Path:
    """A folder in EMO-DB's scheme: two speakers, two emotions."""
    folder = tmp_path / "corpus" / "wav"
    folder.mkdir(parents=True)
    for number, name in enumerate(["03a01Fa", "03a01Wa", "08a01Fa", "08a01Wa"]):
        wavfile.write(folder / f"{name}.wav", 16000, tone * (1 - 0.1 * number))
    return folder.parent


def voice(seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(16000)).astype(np.float32)


@pytest.fixture
def sounds() -> dict[str, np.ndarray]:
    names = [f"{speaker}{label}" for speaker in "abc" for label in ("glad", "sad")]
    return {name: voice(number) for number, name in enumerate(names)}


# A dialog's file as the corpus has it: a comment, then for each turn a summary, the raters' lines
# and a blank. Both actors speak in each dialog.
BLOCK = """[{start:.4f} - {end:.4f}]\t{turn}\t{emotion}\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\tAnger; Frustration;\t(hap)
C-{actor}1:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()
A-{actor}1:\tval 3; act 2; dom  1;\t()

"""
EMOTIONS = ["ang", "hap", "exc", "neu", "sad", "fru", "xxx"]
DIALOGS = ["impro01", "script01_1b"]


@pytest.fixture
def iemocap(tmp_path: Path) -> Path:
    """Five sessions, two dialogs for each actor with markers, seven turns of each speaker."""
    root = tmp_path / "IEMOCAP_full_release"
    silence = np.zeros(16, np.int16)
    for session in range(1, 6):
        for actor in "FM":
            for dialog in (f"Ses0{session}{actor}_{name}" for name in DIALOGS):
                folder = root / f"Session{session}"
                wavs = folder / "sentences/wav" / dialog
                wavs.mkdir(parents=True)
                text = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
                for number, emotion in enumerate(EMOTIONS):
                    for speaker in "FM":
                        turn = f"{dialog}_{speaker}{number:03}"
                        text += BLOCK.format(start=number, end=number + 1, turn=turn, emotion=emotion, actor=speaker)  # fmt: skip
                        wavfile.write(wavs / f"{turn}.wav", 16000, silence)
                evaluation = folder / "dialog/EmoEvaluation"
                (evaluation / "Self-evaluation").mkdir(parents=True, exist_ok=True)
                (evaluation / f"{dialog}.txt").write_text(text)
                (evaluation / f"._{dialog}.txt").write_bytes(b"\x00\x05\x16\x07")
    return root


def environment(processes: int = 1) -> dict[str, str]:
    """The environment of a command that a user types: `python` and `dvc` are this environment's.

    A stage that shares its work out has as many `processes`; each would import TensorFlow anew, which
    takes longer than what there is to do in a toy project.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNS": "80", "LOKY_MAX_CPU_COUNT": str(processes)}


def shell(
    command: str, cwd: Path, check: bool = True, processes: int = 1
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would; on failure the test shows what it printed.

    One that hangs is ended with all that it has started, and fails.
    """
    with subprocess.Popen(
        command, shell=True, cwd=cwd, text=True, env=environment(processes), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=HANGS)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    assert not check or process.returncode == 0, f"{command}\n{out}\n{err}"
    return subprocess.CompletedProcess(command, process.returncode, out, err)


# Stage after stage as the command line runs it, in one process, which imports TensorFlow once.
COMMANDS = f"""
import sys
from pipeline import cli

for stage in {STAGES}:
    sys.argv = ["sernet", stage]
    try:
        cli.main()
    except SystemExit as ended:
        if ended.code:
            raise
""".replace("'", '"')


def new_project(folder: Path) -> Path:
    """Make in `folder` a clone of the project with toy parameters and a toy recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pipeline", "data/corpora"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "boards.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    YAML().dump(toy_content(), folder / "params.yaml")
    recipe = folder / "data/corpora/demo/recipe.yaml"
    content = YAML(typ="safe").load(recipe)
    content.update(RECIPE)
    content["emotions"] = {
        name: content["emotions"][name] for name in ("anger", "sadness", "neutral")
    }
    YAML().dump(content, recipe)
    (folder / ".gitignore").write_text("__pycache__/\n/data/cache/\n.*.partial\n")
    shell(
        "git init -q && git config user.name t && git config user.email t@t.invalid && "
        "dvc init -q && dvc config core.analytics false",
        folder,
    )
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    shell("git add -A && git commit -qm start", folder)
    return folder


# Stands for `python`: `-m pipeline.x` writes into each output of stage x a digest of all that
# dvc.yaml says it reads. So whatever is changed changes all that follows, and no output which
# happens to stay equal hides a stage that DVC would run.
STAND_IN = f"""#!{sys.executable}
import hashlib, sys
from pathlib import Path
from ruamel.yaml import YAML

stage = sys.argv[2].removeprefix("pipeline.")
body = YAML(typ="safe").load(Path("dvc.yaml"))["stages"][stage]
params = YAML(typ="safe").load(Path("params.yaml"))
digest = hashlib.sha256(stage.encode())
for name in body.get("params", []):
    section, _, entry = name.partition(".")
    digest.update(repr(params[section][entry] if entry else params[section]).encode())
for dep in body["deps"]:
    path = Path(dep.replace("${{corpus.path}}", params["corpus"]["path"]))
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(file.read_bytes())
for out in [*body["outs"], *body.get("metrics", [])]:
    path = Path(out if isinstance(out, str) else next(iter(out)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(digest.hexdigest())
with Path("ran.log").open("a") as log:
    log.write(stage + "\\n")
"""


def hollow_project(folder: Path) -> Path:
    """Make in `folder` a project of the real dvc.yaml in which the stages are stand-ins, by the `python`
    in `bin` beside it."""
    new_project(folder)
    with (folder / ".gitignore").open("a") as ignored:
        ignored.write("/ran.log\n")
    shell("git commit -qam log", folder)
    python = folder.parent / "bin" / "python"
    python.parent.mkdir()
    python.write_text(STAND_IN)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has not run, in a path that is not ASCII."""
    return new_project(tmp_path_factory.mktemp("ein Projekt mit Umlaut äöü") / "sernet")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after its stages, each through the command line, taken over by DVC and committed.

    It takes minutes to make, so the worker processes share it; tests copy it and leave it as it is.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "finished"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = base / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)  # where another worker failed
            new_project(unfinished)
            commands = f"python -c '{COMMANDS}' && dvc commit --force"
            shell(f"{commands} && git add -A && git commit -qm results", unfinished)
            unfinished.rename(folder)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The finished project again, to change at will, without what is kept between runs."""
    folder = tmp_path / "sernet"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(folder / "data/cache")
    return folder


def ran(output: str) -> list[str]:
    """The stages that DVC ran, by what it printed."""
    return re.findall(r"^Running stage '(\w+)'", output, re.MULTILINE)


def set_params(folder: Path, **changes: Any) -> None:
    """Change entries of a project's params.yaml, named like `train__epochs`."""
    file = folder / "params.yaml"
    content = YAML(typ="safe").load(file)
    for dotted, value in changes.items():
        section, _, name = dotted.rpartition("__")
        (content[section] if section else content)[name] = value
    YAML().dump(content, file)


def results(folder: Path) -> dict[str, bytes]:
    """What dvc.lock says, and each file of each stage's outputs, by its path."""
    yaml = YAML(typ="safe")
    stages = yaml.load(folder / "dvc.yaml")["stages"].values()
    outs = [
        out if isinstance(out, str) else next(iter(out))
        for stage in stages
        for out in [*stage["outs"], *stage.get("metrics", [])]
    ]
    paths = [folder / out for out in outs]
    assert all(path.exists() for path in paths)
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
    # Its stages stand in the order in which DVC took them in.
    lock = json.dumps(yaml.load(folder / "dvc.lock"), sort_keys=True)
    return {
        "dvc.lock": lock.encode(),
        **{file.relative_to(folder).as_posix(): file.read_bytes() for file in files},
    }
