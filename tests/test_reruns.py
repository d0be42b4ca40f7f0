"""A change reruns what depends on it and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, hollow_project, ran, results, set_params, shell
from dvc.repo import Repo
from ruamel.yaml import YAML

# DVC is called within this process, which then warns of what its own dependencies deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
FROM_FEATURES = ["features", "train", "fold", "quantize", "convert", "evaluate", "export"]
FROM_TRAIN = FROM_FEATURES[1:]
FROM_EVALUATE = ["evaluate", "export"]


@pytest.fixture(scope="module")
def hollow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hollow_project(tmp_path_factory.mktemp("hollow") / "sernet")


@pytest.fixture
def rerun(hollow: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """`dvc repro` in the hollow project, which is up to date; it returns the stages that ran."""
    monkeypatch.chdir(hollow)
    monkeypatch.setenv("PATH", str(hollow.parent / "bin"), prepend=":")
    log = hollow / "ran.log"

    def repro() -> list[str]:
        log.write_text("")
        Repo(str(hollow)).reproduce()
        return log.read_text().split()

    repro()
    return repro


def test_nothing_changed_reruns_nothing(rerun: Callable[[], list[str]]) -> None:
    assert rerun() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"input_len": 0.7}, FROM_FEATURES),
        ({"features__n_mfcc": 20}, FROM_FEATURES),
        ({"train__epochs": 3}, FROM_TRAIN),
        ({"quantize__epochs": 2}, ["quantize", "convert", *FROM_EVALUATE]),
        ({"evaluate__board": "rp2040"}, FROM_EVALUATE),
        ({"evaluate__stack_bytes": 4096, "evaluate__over_budget": "fail"}, FROM_EVALUATE),
        ({"gate__ua_drop": 1.0}, []),
    ],
    ids=str,
)
def test_a_parameter_reruns_exactly(
    hollow: Path, rerun: Callable[[], list[str]], change: dict[str, object], expected: list[str]
) -> None:
    set_params(hollow, **change)
    assert rerun() == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("boards.yaml", FROM_EVALUATE),
        ("pipeline/models/schedule.py", FROM_TRAIN),
        ("pipeline/models/qat.py", ["quantize", "convert", *FROM_EVALUATE]),
        ("pipeline/bundle/c_code.py", ["export"]),
        ("pipeline/reporting/terminal.py", []),
        ("README.md", []),
    ],
)
def test_a_file_reruns_exactly(
    hollow: Path, rerun: Callable[[], list[str]], file: str, expected: list[str]
) -> None:
    with (hollow / file).open("a") as content:
        content.write("# changed\n")
    assert rerun() == expected


def test_one_clip_of_a_folder_reruns_everything(
    hollow: Path, rerun: Callable[[], list[str]]
) -> None:
    (hollow / "recordings").mkdir()
    for name in ("a.wav", "b.wav"):
        (hollow / "recordings" / name).write_text(name)
    set_params(hollow, corpus__path="recordings")
    assert rerun() == list(STAGES)
    assert rerun() == []
    (hollow / "recordings" / "b.wav").write_text("another take")
    assert rerun() == list(STAGES)


def test_a_comment_reruns_its_stages_and_no_further(finished: Path, copied: Path) -> None:
    module = "pipeline/quality/page.py"
    with (copied / module).open("a") as source:
        source.write("# nothing that changes a result\n")
    # Others read what validate writes, which stays the same.
    assert [stage for stage, body in STAGES.items() if module in body["deps"]] == ["validate"]
    assert "data/folds.csv" in STAGES["train"]["deps"]
    assert ran(shell("dvc repro", copied).stdout) == ["validate"]
    before, after = results(finished), results(copied)
    assert [name for name in before if before[name] != after[name]] == ["dvc.lock"]
