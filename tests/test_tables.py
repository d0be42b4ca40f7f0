"""The tables in the documents: from committed runs, with their protocols, and nothing typed in."""

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, set_params, shell
from ruamel.yaml import YAML
from sklearn.metrics import recall_score

from pipeline import params, paths, splits
from pipeline.errors import SernetError
from pipeline.mcu import boards
from pipeline.reporting import ablation, experiments, memory, tables
from pipeline.scoring import protocols

README = (ROOT / "README.md").read_text("utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text("utf-8")
SCORES = {
    "ua": 61.25, "wa": 62.5, "f1": 60.75, "ua_low": 55.5, "ua_high": 66.25, "ua_folds": 60.5, "ua_std": 5.25,
}  # fmt: skip


def metrics(**changes: Any) -> dict[str, Any]:
    return {
        **{name: SCORES for name in protocols.MODELS},
        "paper_protocol": {**SCORES, "ua": 71.25},
        "split": "leave one speaker out",
        "model": {"flash_bytes": 495_464, "macs": 159_326_400},
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The project's rows, of which one has been run."""
    shutil.copy(ROOT / "experiments" / "rows.yaml", tmp_path)
    (tmp_path / "emodb-ce-3s").mkdir()
    (tmp_path / "emodb-ce-3s" / "metrics.json").write_text(json.dumps(metrics()))
    (tmp_path / "emodb-ce-3s" / "evaluation.json").write_text("{}")
    shutil.copy(ROOT / "params.yaml", tmp_path / "emodb-ce-3s")
    return tmp_path


def lines_with(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if name in line]


def test_the_documents_say_what_the_committed_runs_say() -> None:
    rows, peers = experiments.read(ROOT / "experiments")
    write = tables.written_into
    assert write(README, "results", "results --write README.md", tables.results(rows)) == README
    against = experiments.against_references(ROOT / "experiments", rows)
    rendered = tables.tables(rows, peers, against)
    assert write(RESULTS, "tables", "tables --write docs/results.md", rendered) == RESULTS
    assert tables.picture(rows, peers) == (ROOT / "docs" / "results.svg").read_text("utf-8")


def test_where_choices_were_made_on_some_speakers_each_run_is_scored_apart_on_the_others() -> None:
    rows, _ = experiments.read(ROOT / "experiments")
    plan = ablation.plan(ROOT / ablation.PLAN)
    for name in ("emodb4-small", "emodb4-ce"):
        row = rows[name]
        said = pd.read_csv(ROOT / "experiments" / name / "predictions.csv", dtype=str)
        rest = said[~said["speaker"].isin(plan.speakers)]
        ua = 100 * recall_score(rest["actual"], rest["predicted_int8"], average="macro")
        assert row.unseen is not None
        assert row.unseen.ua == pytest.approx(ua, abs=0.005)
        assert row.metrics is not None
        assert row.unseen.ua != row.metrics["int8"]["ua"]
        assert f"UA {ua:.2f}" in row.remark
        assert ("its recipe was chosen on 5" in row.remark) is (name == "emodb4-small")
        assert row.remark in tables.results_by_model(rows)
        (line,) = lines_with(tables.results(rows), f"{name} |")
        assert f"| {ua:.2f} (" in line
    assert rows["demo"].unseen is None  # no run on it rests on choices


def made(folder: Path, name: str, right: float, seed: int, **changes: Any) -> None:
    """A run of seven speakers with 30 clips each: int8 says about this share of them right."""
    rng = np.random.default_rng(seed)
    clips = [(f"{speaker:02}-{n:02}.wav", f"{speaker:02}") for speaker in range(7) for n in range(30)]  # fmt: skip
    actual = np.tile(["angry", "happy", "sad"], 70)
    predicted = np.where(rng.random(210) < right, actual, np.roll(actual, 1))
    rows = pd.DataFrame(clips, columns=["clip", "speaker"])
    rows["fold"] = "speaker-" + rows["speaker"]
    rows["actual"], rows["predicted_float"], rows["predicted_int8"] = actual, actual, predicted
    (folder / name).mkdir(exist_ok=True)
    rows.sample(frac=1, random_state=seed).to_csv(folder / name / "predictions.csv", index=False)
    (folder / name / "metrics.json").write_text(json.dumps(metrics(**changes)))
    (folder / name / "evaluation.json").write_text("{}")
    shutil.copy(ROOT / "params.yaml", folder / name)


def test_each_run_is_held_against_the_reference_of_its_corpus(folder: Path) -> None:
    plan = (ROOT / "experiments" / "ablation.yaml").read_text()
    plan = plan.replace('["03", "08", "09", "10", "11"]', '["01", "04"]')
    (folder / "ablation.yaml").write_text(plan)
    made(folder, "emodb4-ce", 0.6, seed=1)
    made(folder, "emodb4-small", 0.9, seed=2, model={"flash_bytes": 195_840, "macs": 24_000_000})
    made(folder, "emodb4-short", 0.6, seed=1)
    made(folder, "emodb4-lifter", 0.9, seed=2, split="leave one session out")
    rows, _ = experiments.read(folder)
    better, same = experiments.against_references(folder, rows)[::-1]
    assert [of.run for of in (better, same)] == ["emodb4-small", "emodb4-short"]
    ua, unseen = {}, {}
    for name in ("emodb4-ce", "emodb4-small"):
        said = pd.read_csv(folder / name / "predictions.csv", dtype=str)
        rest = said[~said["speaker"].isin(["01", "04"])]
        ua[name] = 100 * recall_score(said["actual"], said["predicted_int8"], average="macro")
        unseen[name] = 100 * recall_score(rest["actual"], rest["predicted_int8"], average="macro")
    expected = ua["emodb4-small"] - ua["emodb4-ce"]
    assert better.models["int8"].difference == pytest.approx(expected, abs=0.005)
    apart = unseen["emodb4-small"] - unseen["emodb4-ce"]
    assert abs(apart - expected) > 0.1
    assert better.unseen is not None
    assert better.unseen.difference == pytest.approx(apart, abs=0.005)
    assert (better.unseen.clips, better.unseen.speakers) == (150, 5)
    assert (same.models["int8"].difference, same.models["int8"].p) == (0, 1)
    assert better.models["float"].difference == 0
    table = tables.against_references([same, better])
    (line,) = lines_with(table, "emodb4-small")
    assert f"| {expected:+.2f} (" in line and f"| {apart:+.2f} (" in line
    assert "| more than chance" in line
    assert "| 24 M of 159 M | 195,840 of 495,464 |" in line
    (line,) = lines_with(table, "emodb4-short")
    assert "| no more than chance" in line
    # Of another corpus, without a reference that was run, or kept out otherwise: no line.
    assert len(table.splitlines()) == 4


def test_a_reference_that_is_no_run_on_the_corpus_is_refused(folder: Path) -> None:
    file = folder / "rows.yaml"
    rows = file.read_text().replace("reference: emodb4-ce", "reference: emodb2s-ce")
    file.write_text(rows)
    with pytest.raises(SernetError, match=r"corpora\.emodb4\.reference: 'emodb2s-ce' is none of"):
        experiments.read(folder)


def test_another_run_is_another_table(folder: Path) -> None:
    rendered = (tables.results, tables.results_by_model)
    before = [render(experiments.read(folder)[0]) for render in rendered]
    changed = metrics(float={**SCORES, "ua": 61.26})
    (folder / "emodb-ce-3s" / "metrics.json").write_text(json.dumps(changed))
    after = [render(experiments.read(folder)[0]) for render in rendered]
    assert all("61.26" in text for text in after)
    assert not any("61.26" in text for text in before)


def test_a_run_has_a_line_with_both_protocols_and_its_split(folder: Path) -> None:
    split = (
        "leave one session out, with the paper's keys: the test clips' neighbours are learnt from"
    )
    (folder / "emodb-ce-3s" / "metrics.json").write_text(json.dumps(metrics(split=split)))
    (line,) = lines_with(tables.results(experiments.read(folder)[0]), "emodb-ce-3s")
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1].endswith(split)
    assert cells[3:] == [
        "71.25 (55.50 to 66.25)", "61.25 (55.50 to 66.25)", "**61.25 (55.50 to 66.25)**", "", "159 M", "495,464",
    ]  # fmt: skip


def test_the_papers_ten_rows_are_there_with_what_it_prints() -> None:
    rows, _ = experiments.read(ROOT / "experiments")
    printed = {name: row.paper for name, row in rows.items() if row.paper}
    assert len(printed) == 10
    assert printed["iemocap-all-focal-7s"] == {"ua": 70.76, "wa": 70.23, "f1": 70.20}
    seconds = [rows[name].set["input_len"] for name in printed]
    assert (seconds.count(3), seconds.count(7)) == (6, 4)


def test_every_row_sets_parameters_that_there_are() -> None:
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    rows, _ = experiments.read(ROOT / "experiments")
    for row in rows.values():
        for key in row.set:
            section, _, entry = key.rpartition(".")
            assert entry in (content[section] if section else content), (row.name, key)


def test_a_row_that_was_not_run_says_so_and_one_that_was_has_both_protocols(folder: Path) -> None:
    rows, peers = experiments.read(folder)
    (done,) = lines_with(tables.table_1(rows), "emodb-ce-3s")
    assert "94.15" in done  # as printed
    assert "71.25 (55.50 to 66.25)" in done  # the paper's protocol
    assert "61.25 (55.50 to 66.25)" in done  # honest
    assert tables.NOT_RUN not in done
    (other,) = lines_with(tables.table_1(rows), "emodb-focal-3s")
    assert tables.NOT_RUN in other
    text = tables.tables(rows, peers, [])
    assert all(f"### Table {n}" in text for n in (1, 2, 3, 4))
    papers, shipped = lines_with(text, ": EMO-DB, 7 classes, 535 clips, leave one speaker out (emodb-ce-3s)")  # fmt: skip
    assert papers.startswith("| ours, float") and "| best test epoch |  | 71.25 (" in papers
    assert "| honest | 0.50 | 61.25 (" in shipped  # 495,464 bytes, of the file that was measured


def test_a_run_is_shown_in_use_and_on_boards_as_it_was_evaluated(folder: Path) -> None:
    small = {"arena_bytes": 1, "ram_bytes": 2, "flash_bytes": 3}
    evaluation = {
        "robustness": {
            "clean": {"description": "as recorded", "ua": 61.5},
            "noise": {"description": "in noise", "ua": 21.25},
        },
        "variants": {
            "plain": {**small, "ram_bytes": 2**40},
            "tiled": small,
            "streaming": {"refused": "too short"},
        },
    }
    (folder / "emodb-ce-3s" / "evaluation.json").write_text(json.dumps(evaluation))
    rows, _ = experiments.read(folder)
    head, _, *lines = tables.in_use(rows).splitlines()
    assert head.endswith("| chance | as recorded | in noise |")
    (line,) = lines
    assert line.startswith("| emodb-ce-3s |") and line.endswith("| 14.3 | 61.50 | 21.25 |")
    assert "emodb-focal-3s" not in tables.in_use(rows)
    _, _, plain, tiled = tables.on_boards(rows).splitlines()
    most = len(boards.load())
    assert plain.endswith(f"| plain | 1 | {2**40:,} | 3 | 0 of {most} |")
    # What the ESP32-S3's kernels ask for beside that is not in the evaluation.
    assert tiled.endswith(f"| tiled | 1 | 2 | 3 | {most - 1} of {most} |")


def test_a_run_from_before_something_was_measured_says_so(folder: Path) -> None:
    noise = {"clean": {"description": "as recorded", "ua": 61.5}}
    newer = folder / "emodb-focal-3s"
    shutil.copytree(folder / "emodb-ce-3s", newer)
    (newer / "evaluation.json").write_text(json.dumps({"robustness": noise}))
    rows, _ = experiments.read(folder)
    older, newer_line = lines_with(tables.in_use(rows), "emodb-ce-3s"), lines_with(tables.in_use(rows), "emodb-focal-3s")  # fmt: skip
    assert older[0].endswith(f"| {tables.NOT_MEASURED} |")
    assert newer_line[0].endswith("| 61.50 |")
    assert (
        f"| 3 s | {tables.NOT_MEASURED} |" in lines_with(tables.on_boards(rows), "emodb-ce-3s")[0]
    )


def test_wa_has_its_interval_and_its_mean_over_folds_where_the_run_has_them(folder: Path) -> None:
    of = {"interval": {"wa": {"low": 57.25, "high": 67.5}}, "mean_over_folds": {"wa": 62.75}}
    before = tables.results_by_model(experiments.read(folder)[0])
    (folder / "emodb-ce-3s" / "evaluation.json").write_text(json.dumps({"models": {"int8": of}}))
    (line,) = lines_with(tables.results_by_model(experiments.read(folder)[0]), "int8, ships")
    assert "| 62.50 | 57.25 to 67.50 | 62.75 | 60.75 |" in line
    (line,) = lines_with(before, "int8, ships")
    assert "| 62.50 |  |  | 60.75 |" in line


def test_the_papers_rows_are_of_the_papers_recipe_whatever_the_defaults_are() -> None:
    """All that shapes the training and the input, as the paper and its reference implementation have it."""
    rows, _ = experiments.read(ROOT / "experiments")
    features = {
        "kind": "mfcc", "level": "clip", "n_fft": 1024, "hop_length": 256, "n_mels": 128, "fmin": 80.0, "fmax": 7600.0,
        "n_mfcc": 40, "lifter": 0, "log_offset": 1e-6, "clip": 10.0,
    }  # fmt: skip
    model = {
        "members": 1, "stem_filters": 32, "stem_pool": [2, 2], "body": "standard", "body_filters": [64, 96, 128, 160], "head_filters": 320,
        "dropout": 0.3, "l2": 1e-6, "bn_momentum": 0.99,
    }  # fmt: skip
    train = {
        "focal_gamma": 2.0, "label_smoothing": 0.0, "class_weights": False, "epochs": 300, "batch_size": 32,
        "learning_rate": 1e-4, "schedule": "steps", "hold_epochs": 50, "decay_epochs": 20, "decay": 0.15, "warm_up_epochs": 0.0,
        "weight_decay": 0.0, "averaged_epochs": 0, "patience": None, "precision": "float32",
    }  # fmt: skip
    losses = {"ce": "cross_entropy", "focal": "focal"}
    of_paper = [name for name in rows if {"ce", "focal"} & {*name.split("-")}]
    assert len(of_paper) == 15  # the ten, one more split, and two copies
    for name in of_paper:
        p = params.load(ROOT / "params.yaml", changes=rows[name].set)
        (loss,) = {losses[part] for part in name.split("-") if part in losses}
        assert p.features.model_dump(mode="json") == features
        assert p.model.model_dump(mode="json") == model
        assert p.train.model_dump(mode="json") == {**train, "loss": loss}
        assert not p.split.inner_validation
        augmented = p.augment.model_dump(
            exclude={"noise_snr_db", "time_mask_seconds", "frequency_mask_share"}
        )
        assert not any(augmented.values())


def test_a_split_with_voices_on_both_sides_is_said_beside_every_score(folder: Path) -> None:
    leak = splits.KINDS["paper"]
    (folder / "emodb-ce-3s" / "metrics.json").write_text(json.dumps(metrics(split=leak)))
    rows, peers = experiments.read(folder)
    for text in (tables.results(rows), tables.tables(rows, peers, [])):
        scored = lines_with(text, "61.25")
        assert scored
        # The lines of a run's other models stand under its first.
        assert all(leak in line for line in scored if not line.startswith("|  |"))
    drawn = "".join(ElementTree.fromstring(tables.picture(rows, peers)).itertext())
    assert "emodb-ce-3s *" in drawn
    assert f"* {leak}" in drawn


def test_the_picture_marks_what_was_run_in_every_table(folder: Path) -> None:
    rows, peers = experiments.read(folder)
    svg = ElementTree.fromstring(tables.picture(rows, peers))
    text = " ".join(svg.itertext())
    assert "emodb-ce-3s: printed 94.15, ours, float, best test epoch, 71.25, ours, float, honest, 61.25, 0.50 MB, leave one speaker out" in text  # fmt: skip
    # Beside the peers, in eight bits.
    assert "emodb-ce-3s: ours, float, best test epoch, 71.25, ours, int8 that ships, honest, 61.25, 0.50 MB, leave one" in text  # fmt: skip
    assert "Zhong 2020: printed 90.10, 0.9 MB." in text
    assert all(f"Table {n}" in text for n in (1, 2, 3, 4))
    assert "*" not in text
    lines = len([r for r in rows.values() if r.set]) + sum(len(of.ours) for of in peers)
    assert text.count("not run") == 2 * (lines - 2)  # drawn and in the description


def test_marks_stand_where_the_axis_has_their_value(folder: Path) -> None:
    svg = ElementTree.fromstring(tables.picture(*experiments.read(folder)))
    texts = {of.text: float(of.get("x", 0)) for of in svg.iter("{http://www.w3.org/2000/svg}text")}
    ends = [float(line.get("x2", 0)) for line in svg.iter("{http://www.w3.org/2000/svg}line")]
    high = texts["60"] + (66.25 - 60) / 10 * (texts["70"] - texts["60"])
    assert ends.count(round(high, 1)) == 2  # the interval in Table 1 and beside the peers


def test_a_document_without_the_marks_is_refused() -> None:
    with pytest.raises(SernetError, match="lacks the marks of the table"):
        tables.written_into("# A page", "results", "results", "| a |")


def test_a_named_run_is_queued_and_one_without_its_corpus_is_refused(
    project: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    shell(f"git clone -q '{project}' '{clone}'", tmp_path)
    (clone / "experiments").mkdir()
    shutil.copy(ROOT / "experiments" / "rows.yaml", clone / "experiments")
    shell("git config user.name t && git config user.email t@t.invalid && git add -A && git commit -qm rows", clone)  # fmt: skip
    failed = shell("python -m pipeline queue emodb4-short", clone, check=False)
    assert failed.returncode == 1
    assert "say where it lies with --path" in failed.stderr
    failed = shell("python -m pipeline queue nothing", clone, check=False)
    assert "no row 'nothing' in experiments/rows.yaml, expected one of iemocap-" in failed.stderr
    failed = shell("python -m pipeline queue emodb4-short --path nowhere", clone, check=False)
    assert f"no {clone / 'nowhere'}, expected EMO-DB" in failed.stderr
    place = clone / "EMO-DB (a, b's)"
    place.mkdir()
    shell(f'python -m pipeline queue emodb4-short --path "{place.name}"', clone)
    assert "emodb4-short" in shell("dvc queue status", clone).stdout
    queued = shell("git show refs/exps/celery/stash:params.yaml", clone).stdout
    assert YAML(typ="safe").load(queued)["corpus"]["path"] == str(place)


def test_results_are_kept_only_under_the_name_whose_parameters_they_have(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiments, "FOLDER", tmp_path)
    head = YAML(typ="safe").load(ROOT / "params.yaml")
    monkeypatch.setattr(experiments.revisions, "params_of", lambda _: head)
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "reports").mkdir()
    for file in experiments.KEPT:
        file.write_text("{}")
    counted = {"clips": 140, "classes": 7, "minutes": 6.9}
    paths.VALIDATION.write_text(json.dumps({"summary": counted}))
    with pytest.raises(SernetError, match=r'emodb2s-ce is with corpus.name "emodb", but .* of "demo"'):  # fmt: skip
        experiments.keep("emodb2s-ce")
    assert experiments.keep("demo") == tmp_path / "demo"
    assert (tmp_path / "demo" / "predictions.csv").is_file()
    for other in ({"clips": 535}, {"classes": 6}, {"minutes": 4.7}):
        paths.VALIDATION.write_text(json.dumps({"summary": {**counted, **other}}))
        with pytest.raises(
            SernetError, match=r"demo is on demo, .* are of \d+ clips in . classes, "
        ):
            experiments.keep("demo")
    paths.VALIDATION.write_text(json.dumps({"summary": counted}))
    set_params(tmp_path, train__epochs=12)  # and not run
    with pytest.raises(SernetError, match=r"params.yaml has train.epochs 12, .* are of 11"):
        experiments.keep("demo")
    # What the row leaves alone is as in HEAD.
    lock = Path("dvc.lock")
    assert lock.read_text().count("mixup: 0.0") == 1
    lock.write_text(lock.read_text().replace("mixup: 0.0", "mixup: 0.3"))
    with pytest.raises(SernetError, match=r"demo is with augment.mixup 0.0, .* are of 0.3"):
        experiments.keep("demo")
    # An older run says nothing of a parameter that came after it.
    lock.write_text(lock.read_text().replace("          mixup: 0.3\n", ""))
    named = tmp_path / "rows.yaml"
    assert named.read_text().count("corpus: demo\n    set: {}") == 1
    changed = "corpus: demo\n    set: {augment.mixup: 0.3}"
    named.write_text(named.read_text().replace("corpus: demo\n    set: {}", changed))
    with pytest.raises(SernetError, match=r"demo sets augment.mixup, which no stage of dvc.lock"):
        experiments.keep("demo")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("corpus: demo\n", "corpus: demos\n", "rows.demo.corpus: 'demos' is none of its corpora, iemocap-"),
        ("    corpus: demo\n    set: {}", "    corpus: demo", "rows.yaml: rows.demo.set: missing"),
        ("ours: [iemocap-all-focal-7s]", "ours: [gone]", "Table 2 names gone, which is none of its rows"),
        ("recipes:\n", "<<<<<<< HEAD\nrecipes:\n", "rows.yaml is not valid YAML: "),
        ("clips: 140", "clips: many", "corpora.demo.clips: input should be a valid integer"),
    ],
)  # fmt: skip
def test_a_table_of_runs_that_is_not_of_its_form_is_one_line(
    folder: Path, before: str, after: str, said: str
) -> None:
    file = folder / "rows.yaml"
    assert file.read_text().count(before) == 1
    file.write_text(file.read_text().replace(before, after))
    with pytest.raises(SernetError) as caught:
        experiments.read(folder)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_readme_has_the_memory_that_was_measured() -> None:
    rendered = memory.render(ROOT / memory.FILE)
    assert tables.written_into(README, "memory", "memory --write README.md", rendered) == README


def test_the_committed_memory_reaches_what_the_project_promises() -> None:
    rows = json.loads((ROOT / memory.FILE).read_text("utf-8"))["rows"]
    least = {
        (row["seconds"], row["variant"].split(",")[0]): row
        for row in sorted(rows, key=lambda row: -row["arena_bytes"])
    }
    for seconds, tiled, streaming in ((3, 131_072, 65_536), (7, 196_608, 98_304)):
        assert least[seconds, "tiled"]["arena_bytes"] <= tiled
        assert least[seconds, "tiled"]["extra_macs_percent"] <= 3
        assert least[seconds, "tiled"]["extra_model_bytes"] <= 24 * 1024
        assert least[seconds, "streaming"]["arena_bytes"] <= streaming
        assert least[seconds, "streaming"]["extra_macs_percent"] == 0
        assert "nano33ble" in least[seconds, "streaming"]["boards"]
    assert "nano33ble" not in least[3, "plain"]["boards"]
