"""The workflows on GitHub: least rights, pinned, nothing of a fork trusted; their scripts are run."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, environment, shell
from ruamel.yaml import YAML

from pipeline.reporting.pull_request import MARKER

FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]  # how GitHub runs `shell: bash`
WRITE = {"write", "write-all"}


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(FOLDER / name)
    return content


def step(workflow: str, name: str) -> dict[str, Any]:
    (found,) = [
        step
        for job in load(workflow)["jobs"].values()
        for step in job["steps"]
        if step.get("name") == name
    ]
    return dict(found)


def faults(text: str) -> Iterator[str]:
    """What a reviewer of a workflow's security would stop at."""
    content = YAML(typ="safe").load(text)
    events = content["on"]
    if "pull_request_target" in events:
        yield "runs with rights on events of a fork"
    if "permissions" not in content:
        yield "leaves the rights to the repository's settings"
    for job in content["jobs"].values():
        rights = job.get("permissions", content.get("permissions", {}))
        writes = rights in WRITE if isinstance(rights, str) else WRITE & set(rights.values())
        if writes and "workflow_run" not in events:
            yield "may write while it runs a change's code"
        if "timeout-minutes" not in job:
            yield "has no limit of time"
        for step in job["steps"]:
            uses = step.get("uses", "")
            if uses and not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", uses):
                yield f"{uses} is not pinned by a commit"
            if writes and uses:
                yield "runs an action where it may write"
            if "actions/checkout@" in uses and step["with"].get("persist-credentials") is not False:
                yield "leaves the token in the clone"
            if "${{" in step.get("run", ""):
                yield "puts an expression into a script"
    for line in text.splitlines():
        if "uses:" in line and not re.search(r"# v\d+(\.\d+)*$", line):
            yield "a pin does not say its version"


SOUND = """
on: {pull_request: }
permissions: {contents: read}
jobs:
  a:
    timeout-minutes: 5
    steps:
      - uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2
        with: {persist-credentials: false}
      - run: make test
"""


def test_there_are_tests_reports_and_comments() -> None:
    assert [file.name for file in FILES] == ["comment.yml", "pull-request.yml", "test.yml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_workflow_has_no_fault(file: Path) -> None:
    assert list(faults(file.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("on: {pull_request: }", "on: {pull_request_target: }", "runs with rights on events of a fork"),
        ("permissions: {contents: read}", "", "leaves the rights to the repository's settings"),
        ("contents: read", "contents: write", "may write while it runs a change's code"),
        ("permissions: {contents: read}", "permissions: write-all", "may write while it runs a change's code"),
        ("    timeout-minutes: 5\n", "", "has no limit of time"),
        ("@de0fac2e4500dabe0009e67214ff5f5447ce83dd", "@v6", "actions/checkout@v6 is not pinned by a commit"),
        (" # v6.0.2", "", "a pin does not say its version"),
        ("with: {persist-credentials: false}", "with: {fetch-depth: 0}", "leaves the token in the clone"),
        ("make test", "echo ${{ github.event.pull_request.title }}", "puts an expression into a script"),
    ],
)  # fmt: skip
def test_each_fault_is_found(old: str, new: str, fault: str) -> None:
    assert list(faults(SOUND)) == []
    assert old in SOUND
    assert fault in list(faults(SOUND.replace(old, new)))


def test_an_action_beside_the_right_to_write_is_found() -> None:
    text = SOUND.replace("on: {pull_request: }", "on: {workflow_run: }")
    assert "runs an action where it may write" in list(faults(text.replace(": read", ": write")))


def test_the_workflows_agree_on_names() -> None:
    comment, report = load("comment.yml"), load("pull-request.yml")
    assert comment["on"]["workflow_run"]["workflows"] == [report["name"]]
    post = step("comment.yml", "Post the comment, or bring it up to date")
    assert post["env"]["MARKER"] == MARKER
    left = [step["with"]["name"] for step in report["jobs"]["report"]["steps"] if "upload-artifact" in step.get("uses", "")]  # fmt: skip
    assert left == ["pull-request-report", "plots"]
    assert "name=pull-request-report" in post["run"]


def test_every_target_of_make_that_is_called_exists() -> None:
    called = {
        target for file in FILES for target in re.findall(r"\bmake (\w+)", file.read_text("utf-8"))
    }
    assert {"env", "lint", "test"} <= called
    assert called <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def run(script: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BASH, "-c", script], cwd=cwd, text=True, capture_output=True, env={**environment(), **env}
    )


def command(folder: Path, name: str, source: str) -> None:
    """An executable Python script that stands for the command `name`."""
    file = folder / name
    file.write_text(f"#!{sys.executable}\n{source}")
    file.chmod(0o755)


# Answers what is in answers.json, by path, and keeps what would be written.
GH = """
import json, pathlib, sys
state = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
assert arguments.pop(0) == "api"
method, body, path = "GET", None, ""
while arguments:
    word = arguments.pop(0)
    if word == "--method":
        method = arguments.pop(0)
    elif word == "-F":
        name, _, file = arguments.pop(0).partition("=@")
        body = pathlib.Path(file).read_text("utf-8")
    elif not word.startswith("--"):
        path = word
if method != "GET":
    with (state / "written.jsonl").open("a") as file:
        print(json.dumps([method, path, body]), file=file)
elif path.endswith("/zip"):
    sys.stdout.buffer.write((state / "artifact.zip").read_bytes())
else:
    print(json.dumps(json.loads((state / "answers.json").read_text())[path]))
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPORT = f"{MARKER}\n## What this change does\n\nint8 `70` @team\n"


@dataclass
class Github:
    """A repository `o/r` with pull request 7, and what a run wrote to it."""

    folder: Path
    env: dict[str, str]

    def post(
        self, files: dict[str, bytes | str], comments: list[dict[str, Any]] | None = None,
        newest: str = COMMIT, expired: bool = False,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run comment.yml's script on an artifact of these files."""
        with zipfile.ZipFile(self.folder / "artifact.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        artifacts = [
            {"id": 3, "name": "pull-request-report", "expired": True},
            {"id": 4, "name": "pull-request-report", "expired": expired},
        ]
        answers = {
            "repos/o/r/actions/runs/11/artifacts?name=pull-request-report": {
                "artifacts": artifacts
            },
            "repos/o/r/pulls/7": {"head": {"sha": newest}},
            "repos/o/r/issues/7/comments": comments or [],
        }
        (self.folder / "answers.json").write_text(json.dumps(answers))
        script = step("comment.yml", "Post the comment, or bring it up to date")["run"]
        (self.folder / "work").mkdir(exist_ok=True)
        return run(script, self.folder / "work", self.env)

    @property
    def written(self) -> list[list[str]]:
        file = self.folder / "written.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def github(tmp_path: Path) -> Github:
    missing = [name for name in ("bash", "unzip", "jq", "iconv") if not shutil.which(name)]
    if missing:
        pytest.skip(f"the script of comment.yml needs {', '.join(missing)}")
    command(tmp_path, "gh", GH)
    fixed = step("comment.yml", "Post the comment, or bring it up to date")["env"]
    env = {
        "PATH": f"{tmp_path}{os.pathsep}{environment()['PATH']}",
        "REPOSITORY": "o/r", "RUN": "11", "RUN_URL": "https://host/run/11", "COMMIT": COMMIT,
        "MARKER": fixed["MARKER"],
    }  # fmt: skip
    return Github(tmp_path, env)


def test_the_first_report_is_a_new_comment(github: Github) -> None:
    done = github.post({"number.txt": "7\n", "comment.md": REPORT})
    assert done.returncode == 0, done.stderr
    ((method, path, body),) = github.written
    assert (method, path) == ("POST", "repos/o/r/issues/7/comments")
    assert body.splitlines()[0] == MARKER
    assert "at 0123456789; [the run](https://host/run/11)" in body
    assert "int8 `70` @\u200bteam" in body
    assert "@team" not in body


def test_the_next_report_takes_its_place_and_nobody_elses(github: Github) -> None:
    comments = [
        {"id": 1, "user": {"login": "someone"}, "body": REPORT},
        {"id": 2, "user": {"login": "github-actions[bot]"}, "body": "Something else"},
        {"id": 5, "user": {"login": "github-actions[bot]"}, "body": REPORT},
        {"id": 6, "user": {"login": "github-actions[bot]"}, "body": REPORT},
    ]
    done = github.post({"number.txt": "7", "comment.md": REPORT}, comments)
    assert done.returncode == 0, done.stderr
    assert [row[:2] for row in github.written] == [["PATCH", "repos/o/r/issues/comments/5"]]


@pytest.mark.parametrize(
    "number", ["", "0", "-7", "7; touch pwned", "$(touch pwned)", "7/../8", "7\n8", "7" * 10, "x"]
)
def test_a_number_that_is_none_is_refused(github: Github, number: str) -> None:
    done = github.post({"number.txt": number, "comment.md": REPORT})
    assert done.returncode == 1
    assert "::error::number.txt holds no number" in done.stdout
    assert github.written == []
    assert not list(github.folder.rglob("pwned"))


def test_a_run_cannot_comment_on_another_pull_request(github: Github) -> None:
    done = github.post({"number.txt": "7", "comment.md": REPORT}, newest="f" * 40)
    assert done.returncode == 0
    assert "nothing is posted" in done.stdout
    assert github.written == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("## Win a prize\n", "does not begin as a report does"),
        (b"\xff\xfe" + REPORT.encode(), "is not UTF-8"),
        (REPORT + "x" * 65_536, "more characters than GitHub takes"),
        (REPORT + "@" * 40_000, "more characters than GitHub takes"),
        (REPORT + "\n" * 50_000_000, "more characters than GitHub takes"),
    ],
    ids=["foreign", "binary", "long", "grows", "bomb"],
)
def test_a_comment_that_is_no_report_is_refused(
    github: Github, content: str | bytes, reason: str
) -> None:
    done = github.post({"number.txt": "7", "comment.md": content})
    assert done.returncode == 1, done.stderr
    assert reason in done.stdout
    assert github.written == []
    assert (github.folder / "work/comment.md").stat().st_size <= 262_145


def test_a_file_in_the_artifact_is_written_nowhere(github: Github) -> None:
    files: dict[str, bytes | str] = {"number.txt": "7", "comment.md": REPORT, "../evil": "x", "e/vil": "x"}  # fmt: skip
    assert github.post(files).returncode == 0
    left = {file.name for file in (github.folder / "work").iterdir()}
    assert left == {"report.zip", "comment.md", "body.md"}
    assert not (github.folder / "evil").exists()


@pytest.mark.parametrize("lacking", ["artifact", "comment"])
def test_a_run_without_a_report_says_so_and_posts_nothing(github: Github, lacking: str) -> None:
    done = github.post({"number.txt": "7"}, expired=lacking == "artifact")
    assert done.returncode == 0, done.stderr
    assert "The run left no" in done.stdout
    assert github.written == []


@pytest.mark.parametrize("status", [0, 1])
def test_a_broken_gate_fails_the_run_and_keeps_the_comment(tmp_path: Path, status: int) -> None:
    command(
        tmp_path, "sernet",
        f"import sys; print(sys.argv[1:]); sys.exit({status})",
    )  # fmt: skip
    found = step("pull-request.yml", "Report, and hold it against the gate")
    env = {
        "PATH": f"{tmp_path}{os.pathsep}{environment()['PATH']}",
        "NUMBER": "7",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    assert set(found["env"]) <= set(env)
    assert run(found["run"], tmp_path, env).returncode == status
    assert (tmp_path / "report/number.txt").read_text() == "7\n"
    assert (tmp_path / "report/comment.md").read_text() == "['report', '--base', 'HEAD^1']\n"
    assert (tmp_path / "summary.md").read_text() == (tmp_path / "report/comment.md").read_text()


TOY = """
stages:
  a:
    cmd: cp ${corpus.path}/clip a.txt && echo a >> ../ran
    params: [corpus]
    deps: ["${corpus.path}", a.py]
    outs: [a.txt]
  b:
    cmd: cp a.txt b.json && echo b >> ../ran
    deps: [a.txt, b.py]
    metrics:
      - b.json:
          cache: false
"""

Reproduced = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of two stages that was run and pushed to a remote, in `origin`."""
    folder = tmp_path_factory.mktemp("reproduce")
    origin = folder / "origin"
    for name in ("corpus", "data/corpora/demo"):
        (origin / name).mkdir(parents=True)
        (origin / name / "clip").write_text(json.dumps({"of": len(name)}))
    (origin / "dvc.yaml").write_text(TOY)
    (origin / "params.yaml").write_text("corpus: {name: own, path: corpus, subset: all}\n")
    for name in ("a.py", "b.py"):
        (origin / name).write_text("1\n")
    shell(
        "git init -q && git config user.name t && git config user.email t@t.invalid && "
        "dvc init -q && dvc config core.analytics false && dvc remote add -q -d storage ../storage && "
        "dvc repro -q && dvc push -q && git add -A && git commit -qm run",
        origin,
    )
    return folder


@pytest.mark.parametrize(
    ("change", "ran"),
    [
        ("true", []),
        ("rm -r ../storage", []),
        ("echo 2 > b.py", ["b"]),
        ("echo 2 > b.py && rm -r ../storage", ["a", "b"]),
        ("echo 2 > a.py && rm -r ../storage", ["a"]),
        ("rm -r corpus", []),
        ("rm -r corpus && echo 2 > b.py", ["b"]),
        ("rm -r corpus ../storage && echo 2 > b.py", ["a", "b"]),
    ],
)
def test_what_git_or_the_remote_has_is_not_run_again(
    pipelines: Path, tmp_path: Path, change: str, ran: list[str]
) -> None:
    for name in ("origin", "storage"):
        shutil.copytree(pipelines / name, tmp_path / name)
    shell("git clone -q origin clone", tmp_path)
    clone, log = tmp_path / "clone", tmp_path / "ran"
    shell(change, clone)
    log.unlink(missing_ok=True)
    script = step("pull-request.yml", "Reproduce the pipeline")["run"]
    done = run(script, clone, {"GIT_CONFIG_GLOBAL": os.devnull})
    assert done.returncode == 0, done.stdout + done.stderr
    # A stage whose output comes out as before does not make the next one run.
    assert (log.read_text().split() if log.exists() else []) == ran
    demo = "corpus" in change and "storage" in change
    assert ("running on the demo corpus" in done.stdout) is demo
    assert json.loads((clone / "b.json").read_text()) == {"of": len("data/corpora/demo" if demo else "corpus")}  # fmt: skip
    assert ("data/corpora/demo" in (clone / "params.yaml").read_text()) is demo


def test_a_stage_that_fails_fails_the_run(pipelines: Path, tmp_path: Path) -> None:
    for name in ("origin", "storage"):
        shutil.copytree(pipelines / name, tmp_path / name)
    clone = tmp_path / "origin"
    (clone / "dvc.yaml").write_text(TOY.replace("cp a.txt b.json", "false"))
    script = step("pull-request.yml", "Reproduce the pipeline")["run"]
    assert run(script, clone, {}).returncode != 0
