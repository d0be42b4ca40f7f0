"""Whether this machine has what the pipeline needs, and how to get what is missing."""

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline import corpora, params, paths
from pipeline.errors import SernetError
from pipeline.packages import required


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` is empty when all is well."""

    name: str
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at Python, the packages, git, DVC's place and the corpus, without importing TensorFlow."""
    version = sys.version_info
    findings = [
        Finding(
            "python",
            platform.python_version(),
            ""
            if (3, 11) <= version < (3, 14)
            else "needs 3.11 to 3.13: make clean, then make env PYTHON=…",
        )
    ]
    findings += _packages()
    git = shutil.which("git")
    findings.append(
        Finding("git", git or "missing", "" if git else "install git: DVC's experiments need it")
    )
    dvc = shutil.which("dvc")
    findings.append(
        Finding(
            "dvc command",
            dvc or "not on PATH",
            "" if dvc else ". .venv/bin/activate",
        )
    )
    for name in ("params.yaml", "dvc.yaml"):
        there = Path(name).is_file()
        findings.append(
            Finding(
                name,
                "found" if there else "missing",
                "" if there else "change into the root of the project",
            )
        )
    findings.append(_corpus())
    findings.append(Finding("cores", str(os.cpu_count())))
    made = str(paths.MODEL) if paths.MODEL.is_file() else "not made yet (dvc repro makes it)"
    findings.append(Finding("model", made))
    return findings


def _packages() -> list[Finding]:
    """Those that the project asks for, which only an installed one says."""
    try:
        names = sorted(required(extras=True))
    except importlib.metadata.PackageNotFoundError:
        return [Finding("sernet", "not installed", "make env")]
    findings = []
    for name in names:
        try:
            findings.append(Finding(name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(name, "missing", "make env"))
    return findings


def _corpus() -> Finding:
    """Whether the corpus that params.yaml names is where it says, without decoding it."""
    try:
        corpus = params.load().corpus
        with tempfile.TemporaryDirectory() as workspace:
            clips = corpora.find(corpus.name, Path(corpus.path), Path(workspace), corpus.subset)
    except SernetError as error:
        return Finding("corpus", "not as it should be", str(error))
    return Finding("corpus", f"{corpus.name}, {len(clips)} clips in {corpus.path}")
