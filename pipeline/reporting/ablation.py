"""What was tried on the development speakers, and what came of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline import paths
from pipeline.reporting.tables import NOT_RUN, markdown

PLAN = Path("experiments/ablation.yaml")
RESULTS = Path("experiments/ablation.json")

Results = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Plan:
    """What is to be tried.

    speakers : those that choices are made on, of every corpus
    seeds : each variant is trained once with each
    corpora : parameters of each corpus, by dotted name
    base : parameters that all variants start from
    variants : what each sets; the first sets nothing, and the others are held to it
    """

    speakers: list[str]
    seeds: list[int]
    corpora: dict[str, dict[str, Any]]
    base: dict[str, Any]
    variants: dict[str, dict[str, Any]]


def plan(file: Path = PLAN) -> Plan:
    return Plan(**YAML(typ="safe").load(paths.require(file)))


def read(file: Path = RESULTS) -> Results:
    """Of each corpus, by variant, what `benchmarks.ablation` measured; empty before the first run."""
    done: Results = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return done


def table(planned: Plan, done: Results) -> str:
    """A line per variant: UA on the development speakers of each corpus, and against the first."""
    base = next(iter(planned.variants))
    lines = []
    for variant, changes in planned.variants.items():
        settings = ", ".join(f"{name} {value}" for name, value in changes.items())
        cells = [variant, f"`{settings}`" if settings else ""]
        for corpus in planned.corpora:
            of_corpus = done.get(corpus, {})
            if variant not in of_corpus:
                cells += [NOT_RUN, ""]
                continue
            ua = of_corpus[variant]["ua"]
            against = f"{ua - of_corpus[base]['ua']:+.2f}" if variant != base else ""
            cells += [f"{ua:.2f}", against]
        lines.append(cells)
    columns = ["variant", "sets"]
    for corpus in planned.corpora:
        columns += [f"{corpus}: UA %", "against the base"]
    return markdown(columns, lines, 2 * len(planned.corpora))
