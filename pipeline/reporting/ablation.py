"""What was tried on the development speakers, and what came of it."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline import params
from pipeline.errors import ParamsError, listed
from pipeline.params import Params
from pipeline.reporting import experiments, plan_file
from pipeline.reporting.experiments import Corpus
from pipeline.reporting.tables import NOT_RUN, markdown

PLAN = Path("experiments/ablation.yaml")
RESULTS = Path("experiments/ablation.json")

# The parameters that training a variant and scoring it read.
MEASURED_WITH: dict[str, Any] = {
    **dict.fromkeys(("input_len", "sample_rate", "features", "model", "train", "augment"), True),
    "split": {"inner_validation"},
}

Results = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Start:
    """What a column of the table starts from.

    corpus : what it is measured on
    set : its parameters by dotted name, which go over the plan's base
    learn_from : `all`, where the speakers that choices are not made on are learnt from as well
    """

    corpus: Corpus
    set: dict[str, Any]
    learn_from: Literal["all"] | None = None


@dataclass(frozen=True)
class AblationPlan:
    """What is to be tried.

    speakers : those that choices are made on, of every corpus
    seeds : each variant is trained once with each
    starts : the table's columns; one corpus may be there more than once, so that the variants start
        from more than one recipe
    base : parameters that all variants start from
    variants : what each sets; the first sets nothing
    held_to : the variant that one is held to, by its name: what it adds to. Others are held to the first
    """

    speakers: list[str]
    seeds: list[int]
    starts: dict[str, Start]
    base: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    held_to: dict[str, str] = field(default_factory=dict)

    def changes(self, start: str, variant: str) -> dict[str, Any]:
        """What differs from params.yaml, by dotted name."""
        return {**self.base, **self.starts[start].set, **self.variants[variant]}

    def params(self, start: str, variant: str) -> Params:
        """What this variant is trained with; what the plan leaves alone is as in params.yaml."""
        return params.load(changes=self.changes(start, variant))

    @property
    def first(self) -> str:
        """The variant that sets nothing, and that others are held to unless `held_to` has another."""
        return next(iter(self.variants))

    def yardstick(self, variant: str) -> str | None:
        """The variant that this one is held to; None of the first."""
        return None if variant == self.first else self.held_to.get(variant, self.first)

    def key(self, start: str, variant: str) -> str:
        """Stands for all that a result of this variant depends on, but the code."""
        used = self.params(start, variant).model_dump(mode="json", include=MEASURED_WITH)
        of = self.starts[start]
        parts = (self.speakers, self.seeds, str(of.corpus), of.learn_from, used)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def column(self, done: Results, start: str) -> "Column":
        keys = {variant: self.key(start, variant) for variant in self.variants}
        yardsticks = {variant: self.yardstick(variant) for variant in self.variants}
        return Column(self.first, keys, yardsticks, done.get(start, {}))


@dataclass(frozen=True)
class Column:
    """What was measured from one start, by variant.

    first : the variant that sets nothing
    keys : of the plan, by variant
    yardsticks : by variant, the one that it is held to; None where it is held to none
    measured : what there is, by this plan or by another
    """

    first: str
    keys: dict[str, str]
    yardsticks: dict[str, str | None]
    measured: dict[str, dict[str, Any]]

    def has(self, variant: str) -> bool:
        """Whether what this variant would change is so from the start."""
        return variant != self.first and self.keys[variant] == self.keys[self.first]

    def result(self, variant: str) -> dict[str, Any] | None:
        """What was measured of a variant; None where nothing was, or by another plan."""
        found = self.measured.get(variant)
        return found if found and found["key"] == self.keys[variant] else None

    def cell(self, variant: str) -> str:
        """UA in percent, and against its yardstick where that was measured; or why there is none."""
        if self.has(variant):
            return "as the first"
        found, yardstick = self.result(variant), self.yardsticks[variant]
        if found is None:
            return NOT_RUN
        if yardstick is not None and self.has(yardstick):
            yardstick = self.first
        held_to = None if yardstick is None else self.result(yardstick)
        if held_to is None:
            return f"{found['ua']:.2f}"
        return f"{found['ua']:.2f} ({found['ua'] - held_to['ua']:+.2f})"


def plan(file: Path = PLAN) -> AblationPlan:
    """What `file` says; the corpora that it names are those of the named runs beside it.

    Raises
    ------
    ParamsError
        It is not of its form, or names a corpus that there is not.
    """
    said = plan_file.read(file)
    known = experiments.corpora(file.parent)
    if unknown := [name for name, of in said.starts.items() if of.corpus not in known]:
        raise ParamsError(f"{file}: the corpus of {listed(unknown)} is none of {listed(known, 9)} in {experiments.ROWS}")  # fmt: skip
    starts = {
        name: Start(known[of.corpus], of.set, of.learn_from) for name, of in said.starts.items()
    }
    return AblationPlan(said.speakers, said.seeds, starts, said.base, said.variants, said.held_to)


def read(file: Path = RESULTS) -> Results:
    """Of each start, by variant, what `benchmarks.ablation` measured; empty before the first run."""
    done: Results = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return done


def table(planned: AblationPlan, done: Results) -> str:
    """A line per variant: UA on the development speakers in percent, and against what it is held to.

    What was measured by another plan counts as not run; what the first has already, is not to be run.
    """
    columns = [planned.column(done, start) for start in planned.starts]
    lines = []
    for variant, changes in planned.variants.items():
        settings = ", ".join(f"{name} {value}" for name, value in changes.items())
        cells = [column.cell(variant) for column in columns]
        shown = f"`{settings}`" if settings else ""
        lines.append([variant, shown, planned.yardstick(variant) or "", *cells])
    heads = ["variant", "sets", "held to", *planned.starts]
    return markdown(heads, lines, len(planned.starts))
