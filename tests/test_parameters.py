"""The reference of the parameters says what params.yaml, its types and dvc.yaml say."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from pipeline import params
from pipeline.errors import ParamsError
from pipeline.reporting import parameters
from pipeline.reporting.tables import written_into

PAGE = ROOT / "docs" / "parameters.md"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def known(root: Path) -> dict[str, parameters.Parameter]:
    """The parameters of the files in `root`, by their dotted names."""
    return {each.name: each for _, found in parameters.sections(root).values() for each in found}


KNOWN = known(ROOT)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), "utf-8")


def test_the_page_is_what_the_parameters_are_now() -> None:
    page = PAGE.read_text("utf-8")
    rendered = parameters.render(ROOT)
    assert written_into(page, "params", "params --write docs/parameters.md", rendered) == page


def test_every_parameter_of_the_file_is_there_with_its_default() -> None:
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    names = {
        f"{key}.{entry}" if isinstance(value, dict) else key
        for key, value in content.items()
        for entry in (value if isinstance(value, dict) else [key])
    }
    assert set(KNOWN) == names
    for name, parameter in KNOWN.items():
        value = content
        for part in name.split("."):
            value = value[part]
        assert YAML(typ="safe").load(parameter.default) == value


def test_every_parameter_has_a_comment_that_says_what_it_means() -> None:
    """What the paper set is not yet a meaning."""
    assert [
        name for name, each in KNOWN.items() if not re.sub(r"paper: .*", "", each.meaning)
    ] == []


def test_a_missing_comment_is_noticed(root: Path) -> None:
    file = root / "params.yaml"
    file.write_text(re.sub(r"(hop_length: \d+) .*", r"\1", file.read_text("utf-8")), "utf-8")
    assert [name for name, each in known(root).items() if not each.meaning] == [
        "features.hop_length"
    ]


def test_a_comment_of_several_lines_is_read_to_its_end(root: Path) -> None:
    file = root / "params.yaml"
    file.write_text(re.sub(r"(  hop_length: 256) .*", r"\1 # one,\n    # two|\n    # three", file.read_text("utf-8")), "utf-8")  # fmt: skip
    assert known(root)["features.hop_length"].meaning == "one, two| three"
    assert r"| one, two\| three |" in parameters.render(root)


@pytest.mark.parametrize(
    ("name", "kind", "inside", "outside"),
    [
        ("split.folds", "integer, ≥ 2", 2, 1),
        ("features.fmax", "number, > 0", 4000.0, 0.0),
        ("model.dropout", "number, ≥ 0, < 1", 0.0, 1.0),
        ("validate.clipped_fraction", "number, ≥ 0, ≤ 1", 1.0, 1.1),
        ("split.inner_validation", "`true`, `false`", True, 1),
        ("train.loss", "`cross_entropy`, `focal`", "focal", "square"),
        ("evaluate.tiling", "`off`, `auto` or integer, ≥ 1", 3, 0),
        ("gate.macs_growth", "number, ≥ 0 or `null`", None, -1.0),
    ],
)
def test_the_bounds_are_those_at_which_loading_stops(
    root: Path, name: str, kind: str, inside: object, outside: object
) -> None:
    assert KNOWN[name].kind == kind
    content = YAML(typ="safe").load(root / "params.yaml")
    section, _, entry = name.partition(".")
    for value, refused in ((inside, False), (outside, True)):
        content[section][entry] = value
        YAML().dump(content, root / "params.yaml")
        if refused:
            with pytest.raises(ParamsError, match=re.escape(name)):
                params.load(root / "params.yaml")
        else:
            params.load(root / "params.yaml")


@pytest.mark.parametrize(
    ("name", "reruns"),
    [
        ("corpus.path", "ingest to export"),
        ("corpus.subset", "ingest to export"),
        ("input_len", "features to export"),
        ("split.folds", "validate, train to export"),
        ("train.epochs", "train to export"),
        ("evaluate.board", "evaluate, export"),
        ("gate.ua_drop", "nothing"),
    ],
)
def test_what_runs_again_is_what_follows_in_the_graph(name: str, reruns: str) -> None:
    assert KNOWN[name].reruns == reruns


def test_a_stage_that_reads_another_parameter_runs_again(root: Path) -> None:
    replace(root / "dvc.yaml", "      - fold\n", "      - fold\n      - gate\n")
    assert known(root)["gate.ua_drop"].reruns == "fold to export"
