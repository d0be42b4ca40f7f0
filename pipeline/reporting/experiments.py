"""The runs that have names: what they set, what the paper prints, and what came out of them."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import model_validator
from ruamel.yaml import YAML

from pipeline import forms, paths
from pipeline.errors import MissingError, SernetError, listed
from pipeline.forms import Form
from pipeline.outputs import staged
from pipeline.reporting import plan_file, revisions, runs
from pipeline.scoring import scores
from pipeline.scoring.protocols import SHIPS
from pipeline.scoring.speakers import Comparison, Interval, interval
from pipeline.written import read_json

FOLDER = Path("experiments")
ROWS = "rows.yaml"
ABLATION = "ablation.yaml"
RESULTS = (paths.METRICS, paths.EVALUATION)
KEPT = (paths.METRICS, paths.PREDICTIONS, paths.EVALUATION)
# Parameters that change neither what is learnt nor what is scored.
ELSEWHERE = ("corpus.path", "validate.", "evaluate.")


MINUTES_ASTRAY = 0.2  # two decodings of one corpus may end some samples apart in each clip


@dataclass(frozen=True)
class Corpus:
    """What a run is on: as tables call it, and by what it is told from another.

    minutes : of audio in all clips, so that a copy that was cut is not taken for the whole; None where
        it is not known
    reference : the run on it that others are held against, by its name; None where there is none
    """

    name: str
    clips: int
    classes: int
    minutes: float | None = None
    reference: str | None = None

    def is_of(self, clips: int, classes: int, minutes: float) -> bool:
        """Whether recordings that count so many are this corpus."""
        alike = self.minutes is None or abs(minutes - self.minutes) <= MINUTES_ASTRAY
        return (clips, classes) == (self.clips, self.classes) and alike

    def __str__(self) -> str:
        length = "" if self.minutes is None else f", {self.minutes:.1f} minutes"
        return f"{self.clips} clips in {self.classes} classes{length}"


@dataclass(frozen=True)
class NamedRun:
    """A named run.

    set : parameters that differ from params.yaml, by dotted name
    paper : `ua`, `wa`, `f1` in percent as the paper prints them, where it has this row
    metrics, params : of the committed run; None where it has not been run
    evaluation : of the committed run, as `evaluate` wrote it then; older ones lack what is newer
    note : what has to be known of the committed run beside its parameters
    chosen : whether it rests on choices that were made on some of the speakers
    unseen : what the int8 model scores on the other speakers; None where no run on the corpus rests on
        such choices, or this one has not been run
    """

    name: str
    corpus: Corpus
    set: dict[str, Any]
    paper: dict[str, float] | None
    metrics: dict[str, Any] | None
    params: dict[str, Any] | None
    evaluation: dict[str, Any] | None
    note: str
    chosen: bool = False
    unseen: "Unseen | None" = None

    @property
    def split(self) -> str | None:
        """Who was kept out in the committed run; None where it has not been run."""
        return self.metrics["split"] if self.metrics else None

    @property
    def on(self) -> str:
        """The corpus, and who was kept out where that is known."""
        return f"{self.corpus.name}, {self.split}" if self.split else self.corpus.name

    @property
    def remark(self) -> str:
        said = [self.note] if self.note else []
        if of := self.unseen:
            if self.chosen:
                said.append(f"its recipe was chosen on {len(of.chosen_on)} of the speakers")
            said.append(
                f"int8 on the {of.speakers} speakers that choices were not made on: UA {of}"
            )
        return "".join(f"; {text}" for text in said)


@dataclass(frozen=True)
class Unseen:
    """Scores on the speakers that no choice has seen.

    chosen_on : the speakers that they were made on
    speakers : how many they were not made on
    ua : of the int8 model in percent, honest protocol, with its `interval` over these speakers
    """

    chosen_on: list[str]
    speakers: int
    ua: float
    interval: Interval | None

    def __str__(self) -> str:
        of = self.interval
        return f"{self.ua:.2f}" + (f" ({of.low:.2f} to {of.high:.2f})" if of else "")

    @classmethod
    def of(cls, run: Path, chosen_on: list[str]) -> "Unseen":
        rows = runs.predictions(str(run))
        rest = rows[~rows["speaker"].isin(chosen_on)]
        column = f"predicted_{SHIPS}"
        return cls(
            chosen_on,
            rest["speaker"].nunique(),
            scores.summary(rest["actual"], rest[column])["ua"],
            interval(rest, column, "ua"),
        )


@dataclass(frozen=True)
class System:
    """Another system: bytes of its file in millions, scores in percent, as the paper prints them."""

    name: str
    megabytes: float
    ua: float
    wa: float | None = None
    f1: float | None = None


@dataclass(frozen=True)
class Peers:
    """One of the paper's tables of other systems; `ours` names the rows to put beside them."""

    table: str
    corpus: str
    ours: list[str]
    systems: list[System]


class _Entry(Form):
    """A row as it is written: see `NamedRun`.

    chosen : whether it rests on choices made on the speakers of the plan
    """

    corpus: str
    set: dict[str, Any]
    paper: dict[str, float] | None = None
    note: str = ""
    chosen: bool = False


class _Rows(Form):
    """What ROWS says; `recipes` are there to be referred to."""

    recipes: dict[str, Any]
    corpora: dict[str, Corpus]
    rows: dict[str, _Entry]
    peers: list[Peers]

    @model_validator(mode="after")
    def _consistent(self) -> "_Rows":
        for name, row in self.rows.items():
            if row.corpus not in self.corpora:
                raise ValueError(f"rows.{name}.corpus: {row.corpus!r} is none of its corpora, {listed(self.corpora, 9)}")  # fmt: skip
        for name, corpus in self.corpora.items():
            reference = self.rows.get(corpus.reference or "")
            if corpus.reference and (reference is None or reference.corpus != name):
                raise ValueError(f"corpora.{name}.reference: {corpus.reference!r} is none of the rows on it")  # fmt: skip
        for table in self.peers:
            if unknown := [name for name in table.ours if name not in self.rows]:
                raise ValueError(f"{table.table} names {listed(unknown)}, which is none of its rows")  # fmt: skip
        return self


def _rows(folder: Path) -> _Rows:
    return forms.read(paths.require(folder / ROWS), _Rows)


def corpora(folder: Path = FOLDER) -> dict[str, Corpus]:
    """The corpora that there are named runs on; ParamsError where ROWS is not of its form."""
    return _rows(folder).corpora


def read(folder: Path) -> tuple[dict[str, NamedRun], list[Peers]]:
    """All named runs in their order, and the paper's tables of other systems.

    Raises
    ------
    ParamsError
        ROWS is not of its form.
    """
    content = _rows(folder)
    made = {name for name in content.rows if (folder / name / paths.METRICS.name).is_file()}
    rest_on_choices = {entry.corpus for entry in content.rows.values() if entry.chosen}
    apart = {name for name in made if content.rows[name].corpus in rest_on_choices}
    chosen_on = plan_file.read(folder / ABLATION).speakers if apart else []
    rows = {}
    for name, entry in content.rows.items():
        done = name in made
        metrics, evaluation = (
            read_json(folder / name / file.name) if done else None for file in RESULTS
        )
        rows[name] = NamedRun(
            name,
            content.corpora[entry.corpus],
            entry.set,
            entry.paper,
            metrics,
            forms.content(folder / name / "params.yaml") if done else None,
            evaluation,
            entry.note,
            entry.chosen,
            Unseen.of(folder / name, chosen_on) if name in apart else None,
        )
    return rows, content.peers


@dataclass(frozen=True)
class Against:
    """A run held against the reference of its corpus, on the same clips, by the honest protocol.

    run, reference : by name
    models : UA of the run minus the reference's, for each of `runs.JUDGED`
    unseen : of the int8 model, on the speakers that choices were not made on; None where there were none
    costs : of the run's network and of the reference's, as their metrics have it
    """

    run: str
    reference: str
    models: dict[str, Comparison]
    unseen: Comparison | None
    costs: tuple[dict[str, Any], dict[str, Any]]


def against_references(folder: Path, rows: dict[str, NamedRun]) -> list[Against]:
    """The runs that were made where their corpus's reference was too, with the same split, in their order.

    Parameters
    ----------
    folder, rows : what `read` was given, and the runs that it found

    Raises
    ------
    SernetError
        A run's predictions are not of the reference's clips.
    """
    found = []
    for row in rows.values():
        reference = rows.get(row.corpus.reference or "", row)
        if reference is row or row.metrics is None or reference.metrics is None:
            continue
        if row.split != reference.split:
            continue
        a, b = (str(folder / of.name) for of in (reference, row))
        models = {model: runs.differences(a, b, model, ("ua",))[0]["ua"] for model in runs.JUDGED}
        unseen = None
        if row.unseen is not None:
            unseen = runs.differences(a, b, SHIPS, ("ua",), row.unseen.chosen_on)[0]["ua"]
        costs = (row.metrics["model"], reference.metrics["model"])
        found.append(Against(row.name, reference.name, models, unseen, costs))
    return found


def queue(name: str, corpus_path: str | None) -> None:
    """Queue a named run as a DVC experiment of that name.

    Raises
    ------
    SernetError
        There is no such row, it needs a corpus and none is given, or DVC refuses it.
    """
    rows, _ = read(FOLDER)
    if name not in rows:
        raise SernetError(f"no row {name!r} in {FOLDER / ROWS}, expected one of {', '.join(rows)}")
    settings = dict(rows[name].set)
    if "corpus.name" in settings:
        if corpus_path is None:
            raise SernetError(
                f"{name} runs on {rows[name].corpus.name}: say where it lies with --path FOLDER"
            )
        place = Path(corpus_path).expanduser().resolve()  # DVC runs it in a folder of its own
        if not place.exists():
            raise SernetError(f"no {place}, expected {rows[name].corpus.name}: correct --path")
        # Quoted, for DVC would read a comma as a sweep of two values.
        quoted = str(place).replace("\\", "\\\\").replace("'", "\\'")
        settings["corpus.path"] = f"'{quoted}'"
    changes = [f"--set-param={key}={value}" for key, value in settings.items()]
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "run", "--queue", "--name", name, *changes],
        text=True,
        capture_output=True,
    )
    if done.returncode:
        raise SernetError(f"DVC did not queue {name}: {' '.join(done.stderr.split())}")


def _of_parameters(row: NamedRun, params: dict[str, Any]) -> None:
    """Refuse results that were not made with what the row sets and, beside that, HEAD's parameters.

    What they were made with is what `dvc.lock` says; `params` may have been changed since, which is
    refused too.
    """
    made_with: dict[str, Any] = {}
    for stage in forms.content(paths.require(Path("dvc.lock")))["stages"].values():
        made_with |= stage.get("params", {}).get("params.yaml", {})
    asked = dict(revisions.flat(revisions.params_of("HEAD"))) | dict(revisions.flat(row.set))
    here = dict(revisions.flat(params))
    found_in_lock = dict(revisions.flat(made_with))
    for key in dict(revisions.flat(row.set)):
        if key not in found_in_lock and not key.startswith(ELSEWHERE):
            raise SernetError(
                f"{row.name} sets {key}, which no stage of dvc.lock was run with: run `dvc repro`"
            )
    for key, found in found_in_lock.items():
        if not key.startswith(ELSEWHERE) and found != asked.get(key):
            raise SernetError(
                f"{row.name} is with {key} {asked.get(key)}, but the results here are of {found}: `dvc exp apply` the run first"
            )
        if found != here.get(key):
            raise SernetError(
                f"params.yaml has {key} {here.get(key)}, but the results here are of {found}: run `dvc repro`"
            )


def keep(name: str) -> Path:
    """Copy the results in the working tree to the folder of the named run.

    The corpus's place is left out of the parameters: it is another on every machine.

    Raises
    ------
    SernetError
        There is no such row, or the results are of other parameters or of another corpus.
    """
    rows, _ = read(FOLDER)
    if name not in rows:
        raise SernetError(f"no row {name!r} in {FOLDER / ROWS}, expected one of {', '.join(rows)}")
    yaml = YAML()
    params = yaml.load(paths.require(Path("params.yaml")))
    _of_parameters(rows[name], params)
    if rows[name].set.get("corpus.name"):
        params["corpus"]["path"] = f"path/to/{params['corpus']['name']}"
    for file in KEPT:
        if not file.is_file():
            raise MissingError(f"no {file}; run the pipeline first")
    summary = read_json(paths.VALIDATION)["summary"]
    found, corpus = (
        {key: summary[key] for key in ("clips", "classes", "minutes")},
        rows[name].corpus,
    )
    if not corpus.is_of(**found):
        raise SernetError(
            f"{name} is on {corpus.name} ({corpus}), but the results here are of {Corpus('', **found)}: "
            "keep them under a row of their corpus"
        )
    target = FOLDER / name
    with staged(target) as (partial,):
        partial.mkdir()
        for file in KEPT:
            shutil.copy(file, partial / file.name)
        yaml.dump(params, partial / "params.yaml")
    return target
