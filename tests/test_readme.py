"""What the documents say is so."""

import re

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

README = (ROOT / "README.md").read_text("utf-8")


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
