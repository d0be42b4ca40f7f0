"""What a change does to the model, read from real git repositories, and the gate that it must pass."""

import json
import re
import shutil
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import pytest
from conftest import ROOT, shell, toy_content
from markdown_it import MarkdownIt
from markdown_it.token import Token
from ruamel.yaml import YAML
from sklearn.metrics import accuracy_score, f1_score, recall_score

from pipeline.errors import MissingError, SernetError
from pipeline.mcu import boards
from pipeline.params import Gate
from pipeline.reporting.differences import Report, changed, compare_revisions
from pipeline.reporting.gate import breaches, thresholds, unjudged
from pipeline.reporting.pull_request import MARKER, cell, code, render
from pipeline.scoring import scores

LABELS = ["anger", "sadness"]
SPEAKERS = 8
CLIPS = 20  # of each speaker
GATE = Gate(ua_drop=2.0, macs_growth=10.0)
RAM, FLASH = 524_288, 2_097_152  # of the board below


def predictions(wrong: int, labels: list[str] = LABELS) -> pd.DataFrame:
    """`wrong` wrong answers of the int8 model for each speaker, one fewer of the float model."""
    rows = []
    for speaker in range(SPEAKERS):
        for clip in range(CLIPS):
            actual, other = labels[clip % 2], labels[1 - clip % 2]
            rows.append(
                {
                    "clip": f"{speaker}-{clip:02}",
                    "fold": f"speaker-{speaker}",
                    "speaker": str(speaker),
                    "actual": actual,
                    "predicted_float": other if clip < wrong - 1 else actual,
                    "predicted_int8": other if clip < wrong else actual,
                }
            )
    return pd.DataFrame(rows)


@cache
def detail(wrong: int, labels: tuple[str, ...]) -> dict[str, Any]:
    """What evaluation.json has of each model; the bootstrap takes a while."""
    rows = predictions(wrong, list(labels))
    return {
        name: scores.detail(rows, f"predicted_{name}", list(labels)) for name in ("float", "int8")
    }


def write(
    folder: Path, wrong: int = 4, labels: list[str] = LABELS, params: dict[str, Any] | None = None,
    losses: tuple[float, ...] = (1.0, 0.6, 0.2), variants: dict[str, Any] | None = None,
    **metrics: Any,
) -> None:  # fmt: skip
    """The files that a run leaves in git; `metrics` changes entries by dotted names, `__` the dot."""
    rows = predictions(wrong, labels)
    models = detail(wrong, tuple(labels))
    pooled = {
        name: {
            **{key: of[key] for key in ("ua", "wa", "f1")},
            "ua_low": of["interval"]["ua"]["low"],
            "ua_high": of["interval"]["ua"]["high"],
        }
        for name, of in models.items()
    }
    content: dict[str, Any] = {
        "corpus": "emodb", "clips": len(rows), "classes": 2, "folds": SPEAKERS,
        "split": "leave one speaker out",
        **pooled,
        "paper_protocol": {"ua": 93.75, "wa": 93.75, "f1": 93.75, "ua_low": 90.0, "ua_high": 97.0},
        "model": {"params": 1000, "macs": 100_000, "flash_bytes": 400_000},
        "mcu": {
            "board": "stm32h743", "variant": "plain", "fits": True, "arena_bytes": 400_000,
            "arena_limit_bytes": 500_000, "ram_bytes": 424_288, "ram_limit_bytes": RAM,
            "flash_needed_bytes": 531_072, "flash_limit_bytes": FLASH, "macs": 100_000,
        },
        "front_end": {"librosa": 80.0, "cmsis_q15": 79.5},
    }  # fmt: skip
    for dotted, value in metrics.items():
        *sections, name = dotted.split("__")
        target = content
        for section in sections:
            target = target[section]
        target[name] = value
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(content))
    rows.to_csv(folder / "predictions.csv", index=False)
    evaluation = {
        "labels": labels,
        "models": models,
        "variants": variants or {
            "plain": {"ram_bytes": 424_288, "flash_bytes": 531_072},
            "streaming": {"refused": "too short"},
        },
    }  # fmt: skip
    (folder / "reports/evaluation.json").write_text(json.dumps(evaluation))
    curve = pd.DataFrame({"epoch": range(1, len(losses) + 1), "train_loss": losses})
    curve.to_csv(folder / "reports/mean_curves.csv", index=False)
    YAML().dump(params or toy_content(), folder / "params.yaml")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first commit has no run and whose branch `target` has one."""
    folder = tmp_path_factory.mktemp("ein Änderungsantrag")
    shell(
        "git init -q && git config user.name t && git config user.email t@t.invalid && "
        "dvc init -q && dvc config core.analytics false && git add -A && git commit -qm start && "
        "git tag start",
        folder,
    )
    shutil.copy(ROOT / "dvc.yaml", folder)
    write(folder)
    shell("git add -A && git commit -qm target && git branch target", folder)
    return folder


Compared = Callable[..., Report]


@pytest.fixture
def compared(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Compared:
    """The working tree, written as for `write`, against the branch `target`."""
    monkeypatch.chdir(repository)

    def compare(base: str = "target", **change: Any) -> Report:
        write(repository, **change)
        return compare_revisions(base)

    return compare


def said(report: Report, gate: Gate = GATE) -> str:
    return render(report, breaches(report, gate))


def rows_of(comment: str) -> dict[str, list[str]]:
    """The cells of each row of the comment's tables by the first, in an independent parser's view."""
    table: dict[str, list[str]] = {}
    row: list[str] = []
    for token in parsed(comment):
        if token.type == "tr_open":
            row = []
        elif token.type == "inline":
            row.append("".join(child.content for child in token.children or []))
        elif token.type == "tr_close":
            table.setdefault(row[0], row[1:])
    return table


def parsed(comment: str) -> list[Token]:
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(comment)


def test_a_change_shows_the_scores_of_scikit_learn_before_and_after(compared: Compared) -> None:
    rows = rows_of(said(compared(wrong=6)))
    sides = []
    for wrong in (4, 6):
        table = predictions(wrong)
        actual, predicted = table["actual"], table["predicted_int8"]
        sides.append(
            {
                "UA": 100 * recall_score(actual, predicted, average="macro"),
                "WA": 100 * accuracy_score(actual, predicted),
                "F1": 100 * f1_score(actual, predicted, average="weighted"),
            }
        )
    for score, before in sides[0].items():
        after = sides[1][score]
        cells = rows[f"int8, ships: {score} %"]
        assert [text.split(" ")[0] for text in cells] == [
            f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}",
        ]  # fmt: skip
    # All speakers are alike here, so that any drawn set of them scores the same.
    assert rows["int8, ships: UA %"][1] == "70.00 (70.00 to 70.00)"


def test_the_same_run_twice_shows_no_difference_and_passes(compared: Compared) -> None:
    report = compared()
    comment = said(report)
    rows = rows_of(comment)
    assert breaches(report, GATE) == []
    assert rows["int8, ships: UA %"][2] == "+0.00"
    assert rows["arena, bytes"] == ["400,000", "400,000", "+0", "500,000"]
    assert "**The gate holds.**" in comment
    assert "None changed." in comment
    assert "None gained, none lost." in comment
    assert "p = 1.0000" in comment


def test_the_comment_begins_with_its_mark_and_is_the_same_each_time(compared: Compared) -> None:
    report = compared(wrong=6)
    assert said(report).splitlines()[0] == MARKER
    assert said(report) == said(compare_revisions("target"))


def test_a_loss_for_every_speaker_is_more_than_chance_and_one_speakers_is_not(
    compared: Compared, repository: Path
) -> None:
    every = compared(wrong=6)
    assert every.chance["int8"].p == pytest.approx(2 / 2**SPEAKERS, abs=1e-4)
    assert re.search(r"UA of int8: -10\.00 points .* 8 speakers\), more than chance", said(every))
    table = predictions(4)
    first = table["speaker"] == "0"
    table.loc[first, "predicted_int8"] = table.loc[first, "actual"]
    table.to_csv(repository / "predictions.csv", index=False)
    one = compare_revisions("target")
    assert re.search(r"UA of int8: \+2\.50 points .*, no more than chance", said(one))


@pytest.mark.parametrize(
    ("gate", "wrong", "broken"),
    [
        (GATE, 5, ["UA of the int8 model (honest protocol) fell by 5.00 points, from 80.00 to 75.00 %; gate.ua_drop allows 2"]),
        (Gate(ua_drop=5.0, macs_growth=None), 5, []),
        (Gate(ua_drop=4.99, macs_growth=None), 5, ["UA of the int8 model (honest protocol) fell by 5.00 points, from 80.00 to 75.00 %; gate.ua_drop allows 4.99"]),
        (Gate(ua_drop=0.0, macs_growth=None), 4, []),
        (Gate(ua_drop=0.0, macs_growth=None), 3, []),
    ],
)  # fmt: skip
def test_ua_may_drop_as_far_as_the_gate_says(
    compared: Compared, gate: Gate, wrong: int, broken: list[str]
) -> None:
    assert breaches(compared(wrong=wrong), gate) == broken


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"mcu__arena_bytes": 500_000}, []),
        ({"mcu__arena_bytes": 500_001}, ["the arena needs 500,001 bytes, 1 more than stm32h743 has for it (500,000)"]),
        ({"mcu__ram_bytes": RAM}, []),
        ({"mcu__ram_bytes": RAM + 1}, [f"RAM needs {RAM + 1:,} bytes, 1 more than stm32h743 has for it ({RAM:,})"]),
        ({"mcu__flash_needed_bytes": FLASH}, []),
        ({"mcu__flash_needed_bytes": FLASH + 2}, [f"flash needs {FLASH + 2:,} bytes, 2 more than stm32h743 has for it ({FLASH:,})"]),
        ({"model__macs": 110_000}, []),
        ({"model__macs": 111_000}, ["MACs grew by 11.0 %, from 100,000 to 111,000; gate.macs_growth allows 10 %"]),
        ({"model__macs": 50_000}, []),
        ({"mcu__fits": False}, ["mcu.fits is not true for stm32h743, expected a model that fits: run `sernet budget`"]),
    ],
)  # fmt: skip
def test_memory_and_macs_at_the_limit_pass_and_above_it_break(
    compared: Compared, change: dict[str, Any], broken: list[str]
) -> None:
    report = compared(**change)
    assert breaches(report, GATE) == broken
    comment = said(report)
    assert ("**The gate holds.**" in comment) is not bool(broken)
    assert all(line.replace("`", "") in comment.replace("`", "") for line in broken)


def test_several_breaches_are_a_line_each_and_one_shortage_of_ram_is_one_line(
    compared: Compared,
) -> None:
    report = compared(
        wrong=9, mcu__arena_bytes=600_000, mcu__ram_bytes=624_288,
        mcu__flash_needed_bytes=FLASH + 1, model__macs=200_000, mcu__fits=False,
    )  # fmt: skip
    broken = breaches(report, GATE)
    assert [line.split(" needs ")[0].split(" of ")[0].split(" grew")[0] for line in broken] == [
        "the arena", "flash", "UA", "MACs",
    ]  # fmt: skip
    assert not any("\n" in line for line in broken)
    assert "**The gate is broken (4):**" in said(report)


@pytest.mark.parametrize("value", [None, "many", float("nan"), True])
@pytest.mark.parametrize("name", ["int8__ua", "mcu__arena_bytes", "mcu__flash_limit_bytes"])
def test_a_figure_that_is_none_never_passes(compared: Compared, name: str, value: Any) -> None:
    broken = breaches(compared(**{name: value}), GATE)
    assert [line.partition(",")[0] for line in broken] == [
        f"metrics.json lacks {name.replace('__', '.')}"
    ]


def test_macs_are_asked_of_a_change_where_they_have_a_limit(
    compared: Compared, repository: Path
) -> None:
    none = {"params": 1000, "flash_bytes": 400_000}
    lacking = compared(model=none)
    assert breaches(lacking, GATE) == ["metrics.json lacks model.macs, expected a number: run `dvc repro`"]  # fmt: skip
    assert breaches(lacking, Gate(ua_drop=2.0, macs_growth=None)) == []
    assert unjudged(lacking) == []
    shell("git checkout -q -b uncounted && git commit -qam uncounted && git checkout -q target", repository)  # fmt: skip
    against_none = compared("uncounted", model__macs=10**9)
    assert breaches(against_none, GATE) == []
    assert unjudged(against_none) == ["MACs: uncounted has none"]


def test_the_gate_is_what_the_changes_own_parameters_say(compared: Compared) -> None:
    content = toy_content()
    content["gate"] = {"ua_drop": 7.5, "macs_growth": 25.0}
    report = compared(params=content)
    assert thresholds(report.head) == Gate(ua_drop=7.5, macs_growth=25.0)
    assert thresholds(report.base) == Gate(**toy_content()["gate"]) != thresholds(report.head)


@pytest.mark.parametrize(
    "gate", [None, {}, {"ua_drop": 2.0}, {"ua_drop": "two", "macs_growth": None}, [2.0]]
)
def test_a_change_without_thresholds_is_one_line_and_passes_by_none(
    compared: Compared, gate: Any
) -> None:
    report = compared(params=toy_content() | {"gate": gate})
    with pytest.raises(SernetError, match=r"^params.yaml of 'working tree' has no valid thresholds, .*$"):  # fmt: skip
        thresholds(report.head)


def test_metrics_that_the_predictions_do_not_give_never_pass(compared: Compared) -> None:
    assert breaches(compared(int8__ua=80.01), GATE) == []  # rounded otherwise
    (line,) = breaches(compared(int8__ua=85.0), GATE)
    assert "says that int8.ua is 85.00 %, predictions.csv gives 80.00 %" in line


def test_metrics_without_their_predictions_never_pass(compared: Compared, repository: Path) -> None:
    compared(int8__ua=99.0)
    file = repository / "predictions.csv"
    pd.read_csv(file, dtype=str).drop(columns="predicted_int8").to_csv(file, index=False)
    for leave in (lambda: None, file.unlink):  # the column is gone, then the file
        leave()
        (line,) = breaches(compare_revisions("target"), GATE)
        assert line.startswith("predictions.csv lacks what int8 said of each clip")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"corpus": "demo"}, "the corpus is emodb in target and demo in working tree"),
        ({"split": "the paper's keys"}, "the split is leave one speaker out in target"),
        ({"labels": ["anger", "fear"]}, "160 have the same name, and the names, speakers or labels differ"),
    ],
)  # fmt: skip
def test_scores_of_another_corpus_or_split_are_shown_but_not_compared(
    compared: Compared, change: dict[str, Any], reason: str
) -> None:
    report = compared(wrong=9, mcu__arena_bytes=500_001, **change)
    comment = said(report)
    assert "**The scores of the two cannot be compared:**" in comment
    assert reason in comment
    assert [cells.split(" ")[0] for cells in rows_of(comment)["int8, ships: UA %"]] == ["80.00", "55.00", ""]  # fmt: skip
    assert report.chance == {}
    # Memory is judged all the same.
    assert [line.split(" ")[1] for line in breaches(report, GATE)] == ["arena"]
    assert "Not judged:\n- `UA: " in comment
    assert "cannot be compared" not in said(compared(wrong=9))


def test_the_papers_protocol_is_labelled_apart(compared: Compared) -> None:
    comment = said(compared(paper_protocol__ua=95.0))
    honest, _, rest = comment.partition("The paper's protocol, which lets the test fold choose")
    assert rows_of(rest)["float, paper's protocol: UA %"] == [
        "93.75 (90.00 to 97.00)", "95.00 (90.00 to 97.00)", "+1.25",
    ]  # fmt: skip
    assert "95.00" not in honest
    assert "Split: `leave one speaker out`" in honest


def test_boards_are_gained_and_lost_by_bytes(compared: Compared) -> None:
    def with_ram(ram: int) -> dict[str, Any]:
        return {"plain": {"ram_bytes": ram, "flash_bytes": 531_072}}

    every = boards.load()
    # Revisions from before the scratch memory of ESP-NN was kept: nothing is known of its board.
    table = {name: board for name, board in every.items() if name != "esp32-s3"}
    fits = {
        name for name, board in table.items() if board.ram >= 424_288 and board.flash >= 531_072
    }
    assert 0 < len(fits) < len(table)
    lost = {name for name in fits if table[name].ram < 600_000}
    comment = said(compared(variants=with_ram(600_000)))
    assert (
        set(re.findall(r"`([^`]+)`", comment.partition("**Lost:**")[2].partition("\n")[0])) == lost
    )
    assert "Gained" not in comment
    gained = {name for name, board in table.items() if board.flash >= 531_072} - fits
    comment = said(compared(variants=with_ram(1000)))
    assert (
        set(re.findall(r"`([^`]+)`", comment.partition("Gained:")[2].partition("\n")[0])) == gained
    )
    assert f"fits {len(table)} of {len(every)} boards" in comment
    assert rows_of(comment)["rp2040"] == ["no", "plain"]


def test_parameters_are_compared_by_their_dotted_names(compared: Compared) -> None:
    content = toy_content()
    content["train"]["epochs"] = 9
    content["model"]["body_filters"] = [1, 2, 3, 4]
    content["gate"]["ua_drop"] = 50.0
    content["novel"] = {"entry": 1}
    del content["quantize"]["distill"]
    comment = said(compared(params=content))
    rows = rows_of(comment)
    assert rows["train.epochs"] == ["2", "9"]
    assert rows["model.body_filters"] == ["[4, 6, 8, 8]", "[1, 2, 3, 4]"]
    assert rows["gate.ua_drop"] == ["2.0", "50.0"]
    assert rows["novel.entry"] == ["–", "1"]
    assert rows["quantize.distill"] == ["1.0", "–"]
    assert "train.batch_size" not in rows
    assert "moves the gate's own thresholds" in comment
    assert "moves the gate's own thresholds" not in said(compared())


def test_true_is_not_one_and_an_empty_section_is_a_value() -> None:
    found = list(changed({"a": {"b": 1, "c": {}}}, {"a": {"b": True, "c": {}}}))
    assert [(change.name, change.before, change.after) for change in found] == [
        ("a.b", "1", "true")
    ]


def test_the_confusion_shows_what_moved(compared: Compared) -> None:
    rows = rows_of(said(compared(wrong=6)))
    # A speaker's first 4 and then 6 clips are wrong, half of them of each class.
    clips = SPEAKERS * CLIPS // 2
    right, wrong = clips - 3 * SPEAKERS, 3 * SPEAKERS
    assert rows["anger"] == [f"{right} (-8)", f"{wrong} (+8)", "70.00 (-10.00)"]
    assert rows_of(said(compared()))["anger"] == [f"{right + 8}", f"{wrong - 8}", "80.00"]


def test_folds_that_moved_most_come_first(compared: Compared, repository: Path) -> None:
    report = compared()
    file = repository / "reports/evaluation.json"
    content = json.loads(file.read_text())
    content["models"]["int8"]["folds"]["speaker-5"]["ua"] = 10.0
    file.write_text(json.dumps(content))
    folds = [name for name in rows_of(said(report)) if name.startswith("speaker-")]
    assert folds[0] == "speaker-0"
    rows = rows_of(said(compare_revisions("target")))
    assert next(name for name in rows if name.startswith("speaker-")) == "speaker-5"
    assert rows["speaker-5"] == ["80.00", "10.00", "-70.00"]


def test_learning_curves_are_drawn_on_one_scale(compared: Compared) -> None:
    comment = said(compared(losses=(2.0, 1.5, 1.0)))
    drawn = re.findall(r"\| training loss \| (\S.*?) \| `(\S+) (.*?)` \|", comment)
    # From 0.2 to 2.0 in eight steps, as by hand.
    assert drawn == [
        ("target", "▄▃▁", "1.000 to 0.200 in 3 epochs"),
        ("this change", "█▆▄", "2.000 to 1.000 in 3 epochs"),
    ]


def test_a_long_curve_is_drawn_short_with_both_ends(compared: Compared) -> None:
    comment = said(compared(losses=tuple(1.0 - k / 299 for k in range(300))))
    ((bars, text),) = re.findall(r"\| this change \| `(\S+) (.*?)` \|", comment)
    assert (len(bars), bars[0], bars[-1]) == (32, "█", "▁")
    assert text == "1.000 to 0.000 in 300 epochs"


def test_a_target_without_a_run_leaves_this_change_alone(compared: Compared) -> None:
    report = compared("start", wrong=9)
    comment = said(report)
    assert "`start`, has no metrics yet" in comment
    assert rows_of(comment)["int8, ships: UA %"] == ["55.00 (55.00 to 55.00)"]
    assert rows_of(comment)["arena, bytes"] == ["400,000", "500,000"]
    assert breaches(report, GATE) == []
    assert len(breaches(compared("start", mcu__arena_bytes=500_001), GATE)) == 1


def test_a_target_in_an_older_format_is_compared_in_what_it_has(
    compared: Compared, repository: Path
) -> None:
    write(repository)
    file = repository / "metrics.json"
    content = json.loads(file.read_text())
    for key in ("split", "front_end"):
        del content[key]
    for key in ("ua_low", "ua_high"):
        del content["int8"][key]
    for key in ("ram_bytes", "ram_limit_bytes", "variant", "macs"):
        del content["mcu"][key]
    file.write_text(json.dumps(content))
    (repository / "reports/evaluation.json").write_text("{}")
    shell("git checkout -q -b old && git commit -qam old && git checkout -q target", repository)
    report = compared("old", wrong=5)
    assert report.comparable
    comment = said(report)
    rows = rows_of(comment)
    assert rows["int8, ships: UA %"] == ["80.00", "75.00 (75.00 to 75.00)", "-5.00"]
    assert rows["RAM in all, bytes"] == ["–", "424,288", "", f"{RAM:,}"]
    assert "counted the arena as all of the RAM" in comment
    assert len(breaches(report, GATE)) == 1


def test_two_revisions_are_read_as_they_were_committed(
    compared: Compared, repository: Path
) -> None:
    write(repository, wrong=7)
    shell(
        "git checkout -q -b change && git commit -qam change && git checkout -q target", repository
    )
    compared(wrong=1)  # the working tree is another
    report = compare_revisions("target", "change")
    assert rows_of(said(report))["int8, ships: UA %"][1].startswith("65.00")
    assert report.base.commit != report.head.commit
    assert [compare_revisions("change", "change~1").head.number("int8.ua")] == [80.0]


def test_nothing_is_asked_of_a_network(
    compared: Compared, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> NoReturn:
        raise AssertionError(f"a connection was tried: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    shell("dvc remote add -f -d far https://127.0.0.1:9/far", repository)
    try:
        assert compared().comparable
    finally:
        shell("dvc remote remove far", repository)


@pytest.mark.parametrize(
    ("file", "content", "error", "expected"),
    [
        ("metrics.json", None, MissingError, "no metrics.json in the working tree"),
        ("metrics.json", "{", SernetError, "metrics.json of 'working tree' is not a JSON object"),
        ("metrics.json", "[1]", SernetError, "metrics.json of 'working tree' is not a JSON object"),
        (
            "params.yaml",
            "a: [",
            SernetError,
            "params.yaml of 'working tree' is not a table in YAML",
        ),
        ("predictions.csv", "clip\na\n", SernetError, "is not a table in CSV with clip, speaker"),
        ("predictions.csv", "", SernetError, "is not a table in CSV with clip, speaker"),
    ],
)
def test_a_file_that_is_wrong_or_missing_is_one_line(
    compared: Compared, repository: Path, file: str, content: str | None,
    error: type[SernetError], expected: str,
) -> None:  # fmt: skip
    write(repository)
    if content is None:
        (repository / file).unlink()
    else:
        (repository / file).write_text(content)
    with pytest.raises(error, match=re.escape(expected)) as caught:
        compare_revisions("target")
    assert "\n" not in str(caught.value)


def test_what_has_another_shape_than_this_version_writes_is_not_recorded(
    compared: Compared, repository: Path
) -> None:
    write(repository)
    metrics = json.loads((repository / "metrics.json").read_text())
    sizes = {"ram_bytes": 1, "flash_bytes": 1}
    evaluations = [
        {
            "variants": {"plain": None, "tiled": {"ram_bytes": 1}, "streaming": "refused"},
            "models": {"int8": {"folds": {"speaker-a": 61.0}, "confusion": None}},
            "labels": None,
        },
        {
            "variants": {"plain": {**sizes, "ram_bytes": "1"}, "tiled": {**sizes, "scratch": {"CMSIS-NN": None}}},
            "models": {"int8": {"folds": {"speaker-a": {"ua": "61"}}, "confusion": [[1, 2], [3]]}},
            "labels": ["a", "b"],
        },
        {"variants": [], "models": {"int8": {"confusion": [["1", 2], [3, 4]]}}, "labels": ["a", "b"]},
    ]  # fmt: skip
    boards = (None, "none", {"board": "stm32h743", "variant": []})
    for mcu, evaluation in zip(boards, evaluations, strict=True):
        (repository / "reports/evaluation.json").write_text(json.dumps(evaluation))
        (repository / "metrics.json").write_text(
            json.dumps({**metrics, "mcu": mcu, "front_end": 3})
        )
        report = compare_revisions("target")
        assert rows_of(said(report))["arena, bytes"][1] == "–"
        # What is not said does not pass.
        assert any("lacks mcu.arena_bytes" in line for line in breaches(report, GATE))


def test_a_revision_or_a_project_that_is_not_there_is_one_line(
    compared: Compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingError, match=r"^no revision 'nowhere' in this clone.*$"):
        compared("nowhere")
    with pytest.raises(MissingError, match=r"^no metrics.json in revision 'start'.*$"):
        compare_revisions("target", "start")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SernetError, match="is no DVC project"):
        compare_revisions("target")


HOSTILE = "a|b`c` ``d`` <script>x</script> [e](http://f) @g **h**\n# i &amp; \u202e"


def test_text_of_a_user_has_no_effect_in_the_comment(compared: Compared, repository: Path) -> None:
    content = toy_content()
    content["corpus"]["name"] = HOSTILE
    content[HOSTILE] = HOSTILE
    comment = said(
        compared(
            params=content, labels=["anger", HOSTILE], corpus=HOSTILE, split=HOSTILE,
            mcu__board=HOSTILE, mcu__variant=HOSTILE, front_end={HOSTILE: 1.0},
            variants={HOSTILE: {"ram_bytes": 1, "flash_bytes": 1}},
        )
    )  # fmt: skip
    kinds: set[str] = set()
    shown: list[str] = []
    markup: set[str] = set()
    for token in parsed(comment):
        if token.type == "html_block":
            markup |= set(re.findall(r"<[a-z!/]+", token.content))
        for child in token.children or []:
            kinds.add(child.type)
            if child.type == "code_inline":
                shown.append(child.content)
            else:
                assert "@g" not in child.content
    assert kinds <= {
        "text",
        "code_inline",
        "softbreak",
        "strong_open",
        "strong_close",
        "html_inline",
    }
    # What there is of HTML is the template's own.
    assert markup <= {"<!", "<details", "<summary", "</summary", "</details"}
    assert "<script" not in "".join(
        child.content for token in parsed(comment) for child in token.children or []
        if child.type == "html_inline"
    )  # fmt: skip
    as_shown = HOSTILE.replace("\n", " ").replace("\u202e", " ").strip()
    assert [text for text in shown if text.strip().startswith(as_shown)]


@pytest.mark.parametrize("text", ["", " ", "`", "``a`", "a|b", "\\", "\\|", "a" * 500, HOSTILE])
def test_a_code_span_holds_any_text(text: str) -> None:
    (inline,) = [t for t in parsed(f"x {code(text)} y") if t.type == "inline"]
    kinds = [child.type for child in inline.children or []]
    assert kinds == ["text", "code_inline", "text"]
    rows = rows_of(f"| a | b |\n|---|---|\n| c | {cell(text)} |")
    assert len(rows["c"]) == 1
    plain = "".join(c if c.isprintable() else " " for c in text)
    if len(text) < 100:
        assert rows["c"][0].strip() == plain.strip()


def test_the_comment_stays_within_what_github_takes(compared: Compared) -> None:
    content = toy_content()
    content["many"] = {f"{k:03}" + "k" * 200: "v" * 500 for k in range(500)}
    comment = said(
        compared(params=content, front_end={f"{k:02}" + "f" * 200: 1.0 for k in range(10)})
    )
    assert len(comment) < 65_536
    assert "more.\n" in comment
