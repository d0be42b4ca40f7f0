"""What was tried: chosen on the development speakers alone, and shown as it was measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.io import wavfile

from benchmarks import ablation as runner
from pipeline.params import Params
from pipeline.reporting import ablation, tables
from pipeline.reporting.ablation import Plan

PLAN = Plan(
    speakers=["a", "b"],
    seeds=[0],
    corpora={"one": {}, "other": {}},
    base={},
    variants={"base": {}, "mixup": {"augment.mixup": 0.3}, "wide": {"model.head_filters": 9}},
)


DONE = {"one": {"base": {"ua": 70.0}, "mixup": {"ua": 71.5}, "wide": {"ua": 69.0}}}


def test_the_table_holds_each_variant_to_the_base_and_says_what_was_not_run() -> None:
    lines = ablation.table(PLAN, DONE).splitlines()
    assert lines[2] == "| base |  | 70.00 |  | not run |  |"
    assert lines[3] == "| mixup | `augment.mixup 0.3` | 71.50 | +1.50 | not run |  |"
    assert lines[4].startswith("| wide | `model.head_filters 9` | 69.00 | -1.00 |")


def test_the_plan_can_be_run_and_every_variant_changes_something(write_params: Any) -> None:
    plan = ablation.plan(ROOT / ablation.PLAN)
    seen = []
    for corpus in plan.corpora.values():
        for variant in plan.variants.values():
            p = runner.params.load(ROOT / "params.yaml", {**corpus, **plan.base, **variant})
            seen.append(p.model_dump_json())
    assert len(set(seen)) == len(plan.corpora) * len(plan.variants)


def test_the_document_says_what_was_measured() -> None:
    plan, done = ablation.plan(ROOT / ablation.PLAN), ablation.read(ROOT / ablation.RESULTS)
    text = (ROOT / "docs" / "results.md").read_text("utf-8")
    table = ablation.table(plan, done)
    assert tables.written_into(text, "ablation", "ablation --write docs/results.md", table) == text


def test_what_was_measured_is_of_the_plan() -> None:
    plan = ablation.plan(ROOT / ablation.PLAN)
    for of_corpus in ablation.read(ROOT / ablation.RESULTS).values():
        for variant, result in of_corpus.items():
            assert result["set"] == plan.variants[variant]


def test_only_development_speakers_are_read(
    toy: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERNET_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    rows = []
    (tmp_path / "data/clips").mkdir(parents=True)
    for speaker in "abc":
        for label in ("glad", "sad"):
            for take in range(4):
                clip = f"{speaker}{label}{take}"
                tone = np.sin(np.arange(16000) * (0.1 if label == "sad" else 0.3))
                sound = (0.3 * tone + 0.01 * rng.standard_normal(16000)).astype(np.float32)
                if speaker != "c":  # of the third there is no sound: to read it is an error
                    wavfile.write(tmp_path / f"data/clips/{clip}.wav", 16000, sound)
                rows.append({"clip": clip, "sha256": clip, "label": label, "speaker": speaker})
    table = pd.DataFrame(rows)
    chosen = table[table["speaker"].isin(["a", "b"])].reset_index(drop=True)
    found = runner.measure(chosen, toy, [0, 1])
    assert len(found["ua_of_seeds"]) == 2
    assert found["ua"] == pytest.approx(np.mean(found["ua_of_seeds"]))
    assert found["arena_bytes"] > 0 and found["flash_bytes"] > 1000 and found["macs"] > 1000
    json.dumps(found)
    with pytest.raises(FileNotFoundError, match="cglad0"):
        runner.measure(table, toy, [0])
