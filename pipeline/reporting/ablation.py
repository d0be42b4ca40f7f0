"""What was tried on the development speakers, and what came of it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline import params, paths
from pipeline.params import Params
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
class Plan:
    """What is to be tried.

    speakers : those that choices are made on, of every corpus
    seeds : each variant is trained once with each
    corpora : of each, how it is told from the others (`clips`, `classes`), and `set`, its parameters
        by dotted name, which go over the base's; with `learn_from` set to `all`, speakers that choices
        are not made on are learnt from as well. One corpus may be there more than once, so that the
        variants start from more than one recipe
    base : parameters that all variants start from
    variants : what each sets; the first sets nothing, and the others are held to it
    """

    speakers: list[str]
    seeds: list[int]
    corpora: dict[str, dict[str, Any]]
    base: dict[str, Any]
    variants: dict[str, dict[str, Any]]

    def changes(self, corpus: str, variant: str) -> dict[str, Any]:
        """What differs from params.yaml, by dotted name."""
        return {**self.base, **self.corpora[corpus]["set"], **self.variants[variant]}

    def params(self, corpus: str, variant: str) -> Params:
        """What this variant is trained with; what the plan leaves alone is as in params.yaml."""
        return params.load(changes=self.changes(corpus, variant))

    @property
    def first(self) -> str:
        """The variant that the others are held to."""
        return next(iter(self.variants))

    def has(self, corpus: str, variant: str) -> bool:
        """Whether what this variant would change is so from the start."""
        return variant != self.first and self.key(corpus, variant) == self.key(corpus, self.first)

    def key(self, corpus: str, variant: str) -> str:
        """Stands for all that a result of this variant depends on, but the code."""
        used = self.params(corpus, variant).model_dump(mode="json", include=MEASURED_WITH)
        parts = (self.speakers, self.seeds, self.corpora[corpus], used)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def plan(file: Path = PLAN) -> Plan:
    return Plan(**YAML(typ="safe").load(paths.require(file)))


def read(file: Path = RESULTS) -> Results:
    """Of each corpus, by variant, what `benchmarks.ablation` measured; empty before the first run."""
    done: Results = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return done


def result(planned: Plan, done: Results, corpus: str, variant: str) -> dict[str, Any] | None:
    """What was measured of a variant; None where nothing was, or by another plan."""
    found = done.get(corpus, {}).get(variant)
    return found if found and found["key"] == planned.key(corpus, variant) else None


def table(planned: Plan, done: Results) -> str:
    """A line per variant: UA on the development speakers of each corpus in percent, and against the first.

    What was measured by another plan counts as not run; what the first has already, is not to be run.
    """
    columns = [_column(planned, done, corpus) for corpus in planned.corpora]
    lines = []
    for variant, changes in planned.variants.items():
        settings = ", ".join(f"{name} {value}" for name, value in changes.items())
        cells = [column[variant] for column in columns]
        lines.append([variant, f"`{settings}`" if settings else "", *cells])
    return markdown(["variant", "sets", *planned.corpora], lines, len(planned.corpora))


def _column(planned: Plan, done: Results, corpus: str) -> dict[str, str]:
    """What the table says of each variant on one corpus."""
    first = result(planned, done, corpus, planned.first)

    def cell(variant: str) -> str:
        if planned.has(corpus, variant):
            return "as the first"
        found = result(planned, done, corpus, variant)
        if found is None:
            return NOT_RUN
        if first is None or variant == planned.first:
            return f"{found['ua']:.2f}"
        return f"{found['ua']:.2f} ({found['ua'] - first['ua']:+.2f})"

    return {variant: cell(variant) for variant in planned.variants}
