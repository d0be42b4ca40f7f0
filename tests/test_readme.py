"""What the documents say is so."""

import re
from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from pipeline.reporting import markdown

README = (ROOT / "README.md").read_text("utf-8")


def test_the_table_of_results_is_what_the_committed_runs_say() -> None:
    assert markdown.written_into(README, markdown.render(ROOT / "experiments")) == README


def test_the_table_changes_with_the_runs(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in ("metrics.json", "params.yaml"):
        (tmp_path / "run" / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "paper.yaml").write_bytes((ROOT / "experiments" / "paper.yaml").read_bytes())
    assert markdown.written_into(README, markdown.render(tmp_path)) != README


def test_every_link_within_the_project_leads_somewhere() -> None:
    documents = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", document.read_text("utf-8"))
    ]
    assert links
    assert [target for document, target in links if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"-S ([a-z_.]+)=", README))))
def test_every_parameter_that_the_readme_sets_exists(setting: str) -> None:
    value = YAML(typ="safe").load(ROOT / "params.yaml")
    for part in setting.split("."):
        value = value[part]


def test_the_readme_calls_the_targets_that_make_has() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = re.findall(r"(?:^|`)make ([a-z]+)(?:$|`)", README, re.MULTILINE)
    assert {"repro", "test", "bench"} <= set(called) <= targets
