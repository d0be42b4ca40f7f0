"""What was tried: chosen on the development speakers alone, and shown as it was measured."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.io import wavfile

from benchmarks import ablation as runner
from pipeline import params
from pipeline.errors import SernetError
from pipeline.models import lightsernet
from pipeline.params import Params
from pipeline.reporting import ablation, experiments, tables
from pipeline.reporting.ablation import AblationPlan, Start
from pipeline.reporting.experiments import Corpus

PLAN = AblationPlan(
    speakers=["a", "b"],
    seeds=[0],
    starts={
        "one": Start(Corpus("one corpus", 24, 2, 0.8), {}),
        "other": Start(Corpus("another", 9, 2), {}),
    },
    base={},
    variants={"base": {}, "mixup": {"augment.mixup": 0.3}, "wide": {"model.head_filters": 9}},
)


UA = {"base": 70.0, "mixup": 71.5, "wide": 69.0}
DONE = {"one": {name: {"ua": ua, "key": PLAN.key("one", name)} for name, ua in UA.items()}}


def test_the_table_holds_each_variant_to_the_base_and_says_what_was_not_run() -> None:
    lines = ablation.table(PLAN, DONE).splitlines()
    assert lines[2] == "| base |  |  | 70.00 | not run |"
    assert lines[3] == "| mixup | `augment.mixup 0.3` | base | 71.50 (+1.50) | not run |"
    assert lines[4] == "| wide | `model.head_filters 9` | base | 69.00 (-1.00) | not run |"


def test_a_variant_that_adds_to_another_is_held_to_that_one() -> None:
    plan = replace(PLAN, held_to={"wide": "mixup"})
    lines = ablation.table(plan, DONE).splitlines()
    assert lines[3] == "| mixup | `augment.mixup 0.3` | base | 71.50 (+1.50) | not run |"
    assert lines[4] == "| wide | `model.head_filters 9` | mixup | 69.00 (-2.50) | not run |"
    # Never to the first in its stead, where the other was not run.
    alone = {"one": {name: of for name, of in DONE["one"].items() if name != "mixup"}}
    assert ablation.table(plan, alone).splitlines()[4].endswith("| mixup | 69.00 | not run |")
    # Where the first has what the other sets, there it is the first.
    mix = {"one": replace(PLAN.starts["one"], set={"augment.mixup": 0.3})}
    plan = replace(plan, starts=mix)
    of = {name: {"ua": UA[name], "key": plan.key("one", name)} for name in ("base", "wide")}
    lines = ablation.table(plan, {"one": of}).splitlines()
    assert lines[3].endswith("| base | as the first |")
    assert lines[4].endswith("| mixup | 69.00 (-1.00) |")


def test_variants_are_held_to_what_they_add_to() -> None:
    plan = ablation.plan(ROOT / ablation.PLAN)
    for variant, sets in plan.variants.items():
        within = [other for other, common in plan.variants.items() if common.items() < sets.items()]
        if variant != plan.first:  # to the one that holds the most of it; the first sets nothing
            assert plan.yardstick(variant) == max(
                within, key=lambda other: len(plan.variants[other])
            )


def test_what_was_measured_by_another_plan_counts_as_not_run() -> None:
    for other in (
        replace(PLAN, base={"train.epochs": 3}),
        replace(PLAN, seeds=[0, 1]),
        replace(PLAN, speakers=["a"]),
        replace(PLAN, starts={"one": Start(Corpus("one corpus", 25, 2, 0.8), {})}),
        replace(PLAN, starts={"one": replace(PLAN.starts["one"], learn_from="all")}),
        replace(PLAN, base={"split.inner_validation": True}),
    ):
        assert "0.00" not in ablation.table(other, DONE)
        assert "not run" in ablation.table(other, DONE)
    assert "70.00" in ablation.table(replace(PLAN, base={"seed": 7}), DONE)  # has seeds of its own
    wider = replace(PLAN, variants={**PLAN.variants, "wide": {"model.head_filters": 10}})
    assert "71.50 (+1.50)" in ablation.table(wider, DONE)
    assert "69.00" not in ablation.table(wider, DONE)


def test_what_was_measured_with_other_defaults_counts_as_not_run(
    toy: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy.yaml").rename(tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    assert toy == ablation.params.load()
    assert "70.00" not in ablation.table(PLAN, DONE)


def test_the_plan_can_be_run_and_every_variant_changes_something(write_params: Any) -> None:
    plan = ablation.plan(ROOT / ablation.PLAN)
    columns = {start: plan.column({}, start) for start in plan.starts}
    changing = {
        start: [name for name in plan.variants if not column.has(name)]
        for start, column in columns.items()
    }
    assert {name for names in changing.values() for name in names} == set(plan.variants)
    keys = [columns[start].keys[name] for start, names in changing.items() for name in names]
    assert len(set(keys)) == len(keys)
    for corpus, names in changing.items():
        seen = {plan.params(corpus, name).model_dump_json() for name in names}
        assert len(seen) == len(names)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("emodb4: {corpus: emodb4,", "emodb4: {corpus: emodb5,", "the corpus of emodb4 is none of iemocap-"),
        ("seeds: [0]", "seeds: one", "seeds: input should be a valid list, found 'one'"),
        ("starts: ", "start: ", "starts: missing; start: unknown entry"),
        ("emodb4-nine: {corpus: emodb4, learn_from: all", "emodb4-nine: {corpus: emodb4, learn_from: some", "learn_from"),
        ("  liftered: MFCC limited to 100\n", "  lifted: MFCC limited to 100\n", "held_to names lifted, which is none of its variants"),
        ("  liftered: MFCC limited to 100\n", "  liftered: MFCC\n", "held_to names MFCC, which is none of its variants"),
        ("  liftered: MFCC limited to 100\n", "  liftered: liftered\n", "held_to holds liftered to itself"),
        ("  liftered: MFCC limited to 100\n", "  base: liftered\n", "held_to has base, which the others are held to"),
    ],
)  # fmt: skip
def test_a_plan_that_is_not_of_its_form_is_one_line(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    file = tmp_path / ablation.PLAN
    assert file.read_text().count(before) == 1
    file.write_text(file.read_text().replace(before, after))
    with pytest.raises(SernetError) as caught:
        ablation.plan(file)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_variants_in_the_mix_start_from_the_recipe_of_the_run(write_params: Any) -> None:
    plan = ablation.plan(ROOT / ablation.PLAN)
    rows, _ = experiments.read(ROOT / experiments.FOLDER)
    for corpus, run in (("emodb4", "small"), ("emodb2s", "small-lifter")):
        recipe = params.load(changes=rows[f"{corpus}-{run}"].set)
        parts = ablation.MEASURED_WITH
        mix = plan.params(f"{corpus}-mix", "base")
        assert mix.model_dump(include=parts) == recipe.model_dump(include=parts)


def test_a_variant_that_the_first_has_already_is_not_run_and_says_so() -> None:
    recipe = replace(PLAN.starts["one"], set={"augment.mixup": 0.3})
    plan = replace(PLAN, starts={**PLAN.starts, "mix": recipe}, base={"augment.mixup": 0.1})
    assert plan.params("mix", "base").augment.mixup == 0.3
    assert plan.params("one", "base").augment.mixup == 0.1
    assert runner.chosen(plan, {}, "mix", []) == ["base", "wide"]
    assert runner.chosen(plan, {}, "one", []) == ["base", "mixup", "wide"]
    with pytest.raises(SernetError, match="mixup is what base of mix is, expected a variant that"):
        runner.chosen(plan, {}, "mix", ["mixup"])
    lines = ablation.table(plan, {}).splitlines()
    assert lines[2] == "| base |  |  | not run | not run | not run |"
    assert lines[3] == "| mixup | `augment.mixup 0.3` | base | not run | not run | as the first |"


def test_the_document_says_what_was_measured() -> None:
    plan, done = ablation.plan(ROOT / ablation.PLAN), ablation.read(ROOT / ablation.RESULTS)
    text = (ROOT / "docs" / "results.md").read_text("utf-8")
    table = ablation.table(plan, done)
    assert tables.written_into(text, "ablation", "ablation --write docs/results.md", table) == text


def test_what_is_named_is_measured_and_else_what_is_missing() -> None:
    assert runner.chosen(PLAN, DONE, "other", []) == list(PLAN.variants)
    assert runner.chosen(PLAN, DONE, "one", []) == []
    assert runner.chosen(PLAN, DONE, "one", ["mixup"]) == ["mixup"]
    wider = replace(PLAN, variants={**PLAN.variants, "wide": {"model.head_filters": 10}})
    assert runner.chosen(wider, DONE, "one", []) == ["wide"]
    with pytest.raises(SernetError, match=r"no variant mixups in .*, expected some of base, mixup"):
        runner.chosen(PLAN, DONE, "one", ["mixups"])


def test_what_was_measured_is_of_the_plan() -> None:
    plan = ablation.plan(ROOT / ablation.PLAN)
    for start, results in ablation.read(ROOT / ablation.RESULTS).items():
        column = plan.column({start: results}, start)
        assert [column.result(variant) for variant in results] == list(results.values())


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
    table = pd.DataFrame(rows).assign(seconds=2.0)
    chosen = runner.development(table, PLAN, "one")
    found = runner.measure(chosen, PLAN.speakers, toy, [0, 1])
    assert len(found["ua_of_seeds"]) == 2
    assert found["ua"] == pytest.approx(np.mean(found["ua_of_seeds"]))
    assert found["arena_bytes"] > 0 and found["flash_bytes"] > 1000 and found["macs"] > 1000
    json.dumps(found)
    # One of the third's clips: of several, the worker that is first names its own.
    with_third = pd.concat([chosen, table[table["clip"] == "cglad0"]], ignore_index=True)
    with pytest.raises(FileNotFoundError, match="cglad0"):
        runner.measure(with_third, PLAN.speakers, toy, [0])


def test_speakers_that_no_choice_may_score_are_learnt_from_where_the_plan_says_so(
    toy: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pd.DataFrame(
        [(s, label, f"{s}{label}", 2.0) for s in "abc" for label in ("glad", "sad")],
        columns=["speaker", "label", "clip", "seconds"],
    )
    named = Start(Corpus("six clips", 6, 2), {})
    plan = replace(PLAN, starts={"one": replace(named, learn_from="all"), "other": named})
    assert plan.key("one", "base") != plan.key("other", "base")
    # The label is all there is to see.
    x = np.zeros((6, 61, 40, 1), np.float32)
    x[1::2] = 1
    learnt = []

    def train(jobs: list[Any], classes: int, recipe: Any) -> Any:
        learnt.extend(len(job.sides()[0]) for job in jobs)
        network = lightsernet.build(61, 40, classes, recipe.model)
        return [SimpleNamespace(weights=network.get_weights()) for _ in jobs]

    monkeypatch.setattr(runner, "features", lambda rows, p: x[: len(rows)])
    monkeypatch.setattr(runner.folds, "train", train)
    monkeypatch.setattr(runner, "costs", lambda *_: {})
    monkeypatch.setattr(runner, "predict", lambda _, x: np.eye(2)[x[:, 0, 0, 0].astype(int)])
    for corpus, clips in (("one", 4), ("other", 2)):
        learnt.clear()
        chosen = runner.development(rows, plan, corpus)
        assert runner.measure(chosen, plan.speakers, toy, [0])["ua"] == 100
        assert learnt == [clips, clips]  # all but those of the speaker left out
    # Were c scored as well, its wrong half would show.
    x[4:] = 1 - x[4:]
    assert runner.measure(rows, plan.speakers, toy, [0])["ua"] == 100
    assert runner.measure(rows, ["a", "b", "c"], toy, [0])["ua"] < 70


def test_an_epoch_is_chosen_on_the_next_development_speaker_and_on_no_other() -> None:
    rows = np.array(list("aabbccd"))
    held_out = [rows == name for name in "abc"]  # d is not one of them
    inner = params.load(ROOT / "params.yaml", changes={"split.inner_validation": True})
    for number, name in enumerate("bca"):
        chosen = runner.inner_side(held_out, number, inner)
        assert set(rows[chosen]) == {name}
        train, validation, test = runner.sides(
            np.arange(7), np.arange(7), ~(held_out[number] | chosen), chosen
        )
        assert validation is not None and test is None
        assert set(rows[validation.x]) == {name}
        assert set(rows[train.x]) == set("abcd") - {name, "abc"[number]}
    nobody = runner.inner_side(held_out, 0, params.load(ROOT / "params.yaml"))
    assert runner.sides(np.arange(7), np.arange(7), ~held_out[0], nobody)[1] is None


@pytest.mark.parametrize(
    ("start", "plan", "seconds", "said"),
    [
        ("other", PLAN, 2.0, "other is on another (9 clips in 2 classes), but what was ingested has 24 clips"),
        # As many clips of as many classes, but cut.
        ("one", PLAN, 1.0, "(24 clips in 2 classes, 0.8 minutes), but what was ingested has 24 clips in 2 classes, 0.4 minutes: set"),
        ("none", PLAN, 2.0, "no column 'none' in experiments/ablation.yaml, expected one of one, other"),
        ("one", replace(PLAN, speakers=["a", "z"]), 2.0, "and lacks the speakers z: set corpus.name"),
    ],
)  # fmt: skip
def test_another_corpus_than_was_asked_for_is_refused(
    start: str, plan: AblationPlan, seconds: float, said: str
) -> None:
    clips = [(speaker, label) for speaker in "abc" for label in ("glad", "sad") for _ in range(4)]
    rows = pd.DataFrame(clips, columns=["speaker", "label"])
    assert set(runner.development(rows.assign(seconds=2.0), PLAN, "one")["speaker"]) == {"a", "b"}
    with pytest.raises(SernetError, match=re.escape(said)):
        runner.development(rows.assign(seconds=seconds), plan, start)
