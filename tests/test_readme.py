"""What the documents say is so."""

import re
from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from pipeline import corpora
from pipeline.errors import CorpusError
from pipeline.mcu import boards

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


def example(document: str, language: str) -> str:
    """The one block of `language` in a document."""
    text = (ROOT / "docs" / document).read_text("utf-8")
    (block,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return block


def test_the_corpus_that_the_documents_write_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "studio.py").write_text(example("corpora.md", "python"), "utf-8")
    monkeypatch.setattr(corpora, "__path__", [*corpora.__path__, str(tmp_path)])
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    with pytest.raises(CorpusError, match="found no wav file"):
        corpora.find("studio", recordings, tmp_path)
    for name in ("ben_glad_2", "anna_angry_1"):
        (recordings / f"{name}.wav").touch()
    found = corpora.find("studio", recordings, tmp_path)
    assert [(clip.speaker, clip.label) for clip in found] == [("anna", "angry"), ("ben", "glad")]
    (recordings / "ben_happy_1.wav").touch()
    with pytest.raises(CorpusError, match=r"found ben_happy_1\.wav"):
        corpora.find("studio", recordings, tmp_path)


def test_the_board_that_the_documents_write_is_a_board(tmp_path: Path) -> None:
    own = tmp_path / "boards.yaml"
    own.write_text(example("extending.md", "yaml"), "utf-8")
    assert boards.get("mine", own).ram == 262_144
