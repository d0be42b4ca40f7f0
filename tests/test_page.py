"""The page of a run: its figures, what it does without, and how it behaves in a real browser."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import ROOT, TOY
from ruamel.yaml import YAML
from scipy.io import wavfile
from sklearn.metrics import confusion_matrix, recall_score

from pipeline import paths
from pipeline.audio.cut import cut
from pipeline.errors import MissingError, SernetError
from pipeline.mcu.boards import Board
from pipeline.mcu.budget import Line, Need
from pipeline.params import Model
from pipeline.reporting import page
from pipeline.reporting.page import accuracy, charts, clips, fit, png, run
from pipeline.tflite import card, converter, graph
from pipeline.tflite.card import Card

CHROMIUM = Path("/usr/bin/chromium")
RATE, SECONDS, CLIP_SECONDS = 16000, 1, 1.5
LABELS = ["anger", "neutral", "sadness"]
EVIL = "<script>alert('x')</script>\"&"
BOARD = Board(name="A board", core="M4", mhz=100, ram=1000, flash=2000, source="")


def scores(ua: float) -> dict[str, float]:
    return {
        "ua": ua, "wa": ua + 1, "f1": ua + 2, "ua_low": ua - 11, "ua_high": ua + 12,
        "ua_folds": ua + 3, "ua_std": 9.87,
    }  # fmt: skip


def metrics() -> dict[str, Any]:
    return {
        "corpus": "csv", "clips": 36, "classes": 3, "folds": 3, "split": "leave one speaker out",
        "float": scores(63.21), "ptq": scores(62.34), "qat": scores(61.47), "int8": scores(60.58),
        "paper_protocol": scores(77.77), "ships": {"ptq": 1, "qat": 2}, "fold_error": 6e-7,
        "validation_warnings": 0,
        "model": {"params": 4321, "macs": 1234567, "flash_bytes": 20000},
        "mcu": {
            "board": "stm32h743", "variant": "plain", "fits": True, "arena_bytes": 30123,
            "arena_limit_bytes": 500000, "ram_bytes": 40123, "ram_limit_bytes": 524288,
            "flash_needed_bytes": 150000, "flash_limit_bytes": 2097152, "macs": 1234567,
        },
        "front_end": {"librosa": 60.58, "cmsis_q15": 52.52},
        "agreement": {"tflm_vs_litert_reference": 0, "inner_tensors": 0},
    }  # fmt: skip


def need(ram: int, flash: int) -> dict[str, Any]:
    return {
        "ram": [{"name": "tensor arena", "bytes": ram, "how": "measured"},
                {"name": "stack", "bytes": 8192, "how": "allowed for"}],
        "flash": [{"name": "model", "bytes": flash, "how": "measured"}],
    }  # fmt: skip


def evaluation() -> dict[str, Any]:
    plain = need(30123, 20000)
    return {
        "variants": {"plain": plain, "tiled": need(9000, 21000), "streaming": {"refused": "odd height."}},
        "budget": {
            "board": "stm32h743", "board_name": "STM32H743", "need": {"variant": "plain", **plain},
            "ram_limit_bytes": 524288, "flash_limit_bytes": 2097152, "fits": True, "advice": "",
        },
        "robustness": {"noise": {"description": "white noise", "ua": 41.41}},
    }  # fmt: skip


def predictions(
    labels: list[str] = LABELS, speakers: tuple[str, ...] = ("03", "08", "x1")
) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for speaker in speakers:
        for number in range(12):
            p = rng.dirichlet(np.ones(len(labels))).round(4)
            actual = labels[number % len(labels)]
            said = labels[int(p.argmax())]
            rows.append(
                {
                    "clip": f"{speaker}-{number:02}", "fold": f"speaker-{speaker}", "speaker": speaker,
                    "actual": actual, "predicted_float": actual if number % 2 else said,
                    "predicted_int8": said, **{f"p_{label}": p[k] for k, label in enumerate(labels)},
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def curves() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"fold": fold, "epoch": epoch, "train_loss": 2.0 / epoch, "train_accuracy": 1 - 0.5 / epoch,
             "test_accuracy": None if fold == "final" else 0.3 + 0.05 * epoch}
            for fold in ("speaker-03", "speaker-08", "speaker-x1", "final")
            for epoch in range(1, 6)
        ]
    )  # fmt: skip


def validation() -> dict[str, Any]:
    failed = {"check": "seconds", "level": "warning", "expected": {"max_value": 60.0}, "success": False,
              "checked": 36, "items": ["03-00"], "values": [61.0]}  # fmt: skip
    return {
        "summary": {"corpus": "csv", "clips": 36},
        "checks": [failed, {**failed, "success": True}],
    }


def audio(number: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(number).standard_normal(int(CLIP_SECONDS * RATE))).astype(
        "f"
    )


def write_run(folder: Path, rows: pd.DataFrame | None = None) -> None:
    """A whole run but for the models."""
    rows = predictions() if rows is None else rows
    for name in ("reports", "data/clips", "data/features"):
        (folder / name).mkdir(parents=True)
    (folder / paths.METRICS).write_text(json.dumps(metrics()))
    (folder / paths.EVALUATION).write_text(json.dumps(evaluation()))
    (folder / paths.VALIDATION).write_text(json.dumps(validation()))
    sizes = {"float": 80000, "float16": 41000, "ptq": 20100, "qat": 20300}
    (folder / paths.CONVERSION).write_text(json.dumps({"final": {"bytes": sizes}}))
    rows.to_csv(folder / paths.PREDICTIONS, index=False)
    curves().to_csv(folder / paths.LEARNING_CURVES, index=False)
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    YAML().dump(content | {"input_len": SECONDS}, folder / "params.yaml")
    for number, clip in enumerate(rows["clip"]):
        wavfile.write(folder / "data/clips" / f"{clip}.wav", RATE, audio(number))
        x = np.random.default_rng(number).normal(0, 3, (59, 40)).astype("f")
        np.save(folder / "data/features" / f"{clip}.npy", x)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass
class Content(HTMLParser):
    """Text, and the attributes of each element by its name."""

    text: str = ""
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def written(include_audio: bool = True) -> Content:
    target = Path("page.html")
    page.write(target, include_audio)
    content = Content()
    content.feed(target.read_text("utf-8"))
    content.text = re.sub(r"\s+", " ", content.text)
    return content


def test_the_figures_of_the_metrics_stand_with_their_protocol(folder: Path) -> None:
    text = written().text
    assert re.search(r"honest protocol ?60\.58 %95 % interval 49\.58 to 72\.58 %", text)
    assert re.search(r"float, paper's protocolpaper’s77\.7766\.77 to 89\.77", text)
    for figure in (
        "leave one speaker out",
        "63.21",
        "33.33",
        "30,123",
        "1.2 M",
        "52.52",
        "41.41",
        "41,000",
    ):
        assert figure in text, figure


def test_other_metrics_make_another_page(folder: Path) -> None:
    before = written().text
    changed = metrics()
    changed["int8"]["ua"] = 12.34
    changed["mcu"]["fits"] = False
    paths.METRICS.write_text(json.dumps(changed))
    after = written().text
    assert "12.34" not in before and "does not fit" not in before
    assert "12.34" in after and "does not fit" in after


def test_without_metrics_it_says_what_makes_them(folder: Path) -> None:
    paths.METRICS.unlink()
    with pytest.raises(MissingError, match=r"no metrics\.json.*dvc repro"):
        written()


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("predictions.csv", "Confusion Left out: predictions.csv is not here."),
        ("reports/learning_curves.csv", "Training Left out: reports/learning_curves.csv"),
        ("reports/conversion.json", "Left out: reports/conversion.json has no sizes"),
        ("reports/evaluation.json", "Left out: reports/evaluation.json has no variants"),
        ("reports/validation.json", "Left out: reports/validation.json is not here."),
        ("params.yaml", "Left out: params.yaml is not here."),
    ],
)
def test_what_is_missing_is_left_out_with_a_sentence(folder: Path, missing: str, said: str) -> None:
    assert said not in written().text
    Path(missing).unlink()
    assert said in written().text


def test_an_older_run_of_metrics_alone_makes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    old = {
        key: value for key, value in metrics().items()
        if key not in ("split", "front_end", "agreement", "ships", "paper_protocol")
    }  # fmt: skip
    old["int8"] = {"ua": 60.58, "wa": 61.0, "f1": 62.0}
    paths.METRICS.write_text(json.dumps(old))
    text = written().text
    assert "no interval in this run" in text
    assert text.count("Left out:") == 9


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("metrics.json", "{", "not a JSON object"),
        ("reports/evaluation.json", "[]", "not a JSON object"),
        ("predictions.csv", "clip\na\n", r"predictions.csv lacks the column\(s\) speaker, actual"),
        ("reports/learning_curves.csv", "fold,epoch\n", r"lacks the column\(s\) train_loss"),
        ("reports/learning_curves.csv", "", r"lacks the column\(s\) fold, epoch"),
    ],
)
def test_a_file_that_no_stage_wrote_is_one_line(
    folder: Path, file: str, content: str, match: str
) -> None:
    Path(file).write_text(content)
    with pytest.raises(SernetError, match=match) as caught:
        written()
    assert "\n" not in str(caught.value)


def test_names_of_the_data_are_text_and_never_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = predictions([EVIL, "b"], ("<b>bold</b>", "s2"))
    rows["clip"] = [f"clip<img src=x>{n}" for n in range(len(rows))]
    write_run(tmp_path, rows)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(Path("params.yaml").read_text() + f"# {EVIL}\n")
    failed = validation()
    failed["checks"][0]["items"] = [EVIL]
    paths.VALIDATION.write_text(json.dumps(failed))
    content = written()
    assert content.all("script") == [] and content.all("b") == []
    assert all(image["src"].startswith("data:") for image in content.all("img"))
    assert content.text.count(EVIL) > 5
    assert "<b>bold</b>" in content.text and "clip clip<img src=x>" in content.text


def test_two_processes_write_the_same_bytes(folder: Path) -> None:
    code = "import sys; from pathlib import Path; from pipeline.reporting import page; page.write(Path(sys.argv[1]))"
    for seed in "12":
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code, f"{seed}.html"], check=True, env=environment)
    assert Path("1.html").read_bytes() == Path("2.html").read_bytes()


def test_confusion_is_scikit_learns() -> None:
    rows = predictions()
    found = accuracy.confusion(rows)
    assert found is not None and found.labels == LABELS
    expected = confusion_matrix(rows["actual"], rows["predicted_int8"], labels=LABELS)
    assert found.counts == expected.tolist()
    np.testing.assert_allclose(np.sum(found.percent, axis=1), 100)


def test_a_class_that_is_only_predicted_has_a_row_of_zeros() -> None:
    rows = pd.DataFrame({"actual": ["a", "a"], "predicted_int8": ["a", "b"]})
    found = accuracy.confusion(rows)
    assert found is not None
    assert (found.counts, found.percent) == ([[1, 1], [0, 0]], [[50.0, 50.0], [0.0, 0.0]])


def test_ua_by_speaker_is_scikit_learns_macro_recall() -> None:
    rows = predictions().iloc[:-5]  # speakers with unlike numbers of clips
    found = accuracy.by_speaker(rows)
    assert found is not None and [speaker.name for speaker in found] == ["03", "08", "x1"]
    for speaker in found:
        own = rows[rows["speaker"] == speaker.name]
        assert speaker.clips == len(own)
        for kind, ua in (("float", speaker.float_ua), ("int8", speaker.int8_ua)):
            expected = recall_score(own["actual"], own[f"predicted_{kind}"], average="macro")
            assert ua == pytest.approx(100 * expected)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 11, [0, 5, 10]),
        (0, 2.05, [0, 0.5, 1, 1.5, 2]),
        (0.7, 0.7, [0.7]),
        (0, 300, [0, 100, 200, 300]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == expected


def test_a_chart_puts_the_ends_of_the_axes_at_the_ends_of_the_plot() -> None:
    line = charts.Series("a", "a", [(0, 0), (10, 100)])
    drawn = charts.chart("x", "y", (0, 10), (0, 100), "", series=[line])
    assert drawn.lines == [
        ("a", f"M{charts.LEFT:.1f} {charts.BOTTOM:.1f}L{charts.RIGHT:.1f} {charts.TOP:.1f}")
    ]


def test_a_board_lacks_what_is_over_and_the_limit_itself_fits() -> None:
    def of(ram: int, flash: int) -> Need:
        return Need("plain", (Line("arena", ram, "measured"),), (Line("model", flash, "measured"),))

    assert fit.verdict(BOARD, of(1000, 2000)).fits
    over = fit.verdict(BOARD, of(1001, 2050))
    assert (over.fits, over.ram, over.flash) == (False, 1, 50)
    # What the board's system takes is not the program's; and unknown scratch memory is no room.
    with_system = BOARD.model_copy(update={"system_ram": 100})
    assert fit.verdict(with_system, of(1000, 2000)).ram == 100
    other_kernels = BOARD.model_copy(update={"core": "Xtensa LX7"})
    unknown = fit.verdict(other_kernels, of(1, 1))
    assert (unknown.fits, unknown.ram) == (False, None)
    known = replace(of(600, 2000), scratch={"CMSIS-NN": 100, "ESP-NN": 501})
    assert fit.verdict(other_kernels, known).ram == 1


def test_boards_are_held_against_each_variant_and_a_refused_one_says_why(folder: Path) -> None:
    text = written().text
    assert "There is no streaming variant: odd height." in text
    assert "tensor arena30,123measured" in text and "stack8,192allowed for" in text
    # All boards hold 38,315 and 17,192 bytes; with more, the Pico's 262,144 do not suffice.
    assert "✗ lacks" not in text
    assert (
        text.count("not known in this run") == 2
    )  # of the ESP32-S3, whose kernels it does not name
    content = evaluation()
    content["variants"]["plain"] = need(300000, 20000)
    paths.EVALUATION.write_text(json.dumps(content))
    assert (
        "Raspberry Pi Pico (RP2040)RAM 262,144flash 2,097,152✗ lacks 46,048 of RAM✓ fits"
        in written().text
    )


def test_the_surest_right_and_wrong_clip_of_each_class_are_heard(folder: Path) -> None:
    hearing = clips.choose(run.read(), include_audio=True)
    assert hearing is not None
    rows = predictions()
    expected = []
    for label in LABELS:
        of_class = rows[rows["actual"] == label]
        for right in (True, False):
            side = of_class[(of_class["predicted_int8"] == label) == right]
            if len(side):
                expected.append(max(side.itertuples(), key=lambda r: getattr(r, f"p_{r.predicted_int8}")).clip)  # fmt: skip
    assert [clip.name for clip in hearing.clips] == expected
    assert {clip.right for clip in hearing.clips} == {True, False}
    for clip in hearing.clips:
        assert clip.probabilities[0][0] == clip.said


def sounds(content: Content) -> list[bytes]:
    return [base64.b64decode(str(tag["src"]).partition(",")[2]) for tag in content.all("audio")]


def test_the_sound_is_what_the_front_end_gets(folder: Path) -> None:
    content = written()
    assert "This page contains recordings of the corpus" in content.text
    names = [
        str(tag["aria-label"]).split(",")[0].removeprefix("Clip ") for tag in content.all("audio")
    ]
    assert names
    for name, sound in zip(names, sounds(content), strict=True):
        y, rate = soundfile.read(BytesIO(sound))
        number = list(predictions()["clip"]).index(name)
        assert rate == RATE
        np.testing.assert_allclose(y, cut(audio(number), SECONDS * RATE), atol=1.01 / 2**15)


def test_without_audio_there_are_pictures_and_no_recordings(folder: Path) -> None:
    content = written(include_audio=False)
    assert content.all("audio") == [] and "audio/flac" not in Path("page.html").read_text()
    assert "No recordings are in this page." in content.text
    assert len(content.all("img")) >= len(LABELS)


def test_recordings_beyond_the_limit_are_counted_and_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = sounds(written())
    limit = len(every[0]) + len(every[1])
    hearing = clips.choose(run.read(), include_audio=False)
    assert hearing is not None
    monkeypatch.setattr(clips, "BYTES", limit + sum(len(clip.picture) for clip in hearing.clips))
    content = written()
    assert sum(map(len, sounds(content))) <= limit
    assert len(content.all("audio")) == 2
    assert f"{len(every) - 2} of {len(every)} clips have no sound here" in content.text


def test_a_picture_decodes_to_its_matrix() -> None:
    import tensorflow as tf

    x = np.array([[0.0, 1.0, -1.0], [5.0, -5.0, 0.5]])
    decoded = tf.io.decode_png(png.picture(x, limit=1.0), channels=3).numpy()
    assert decoded.shape == (3, 2, 3)  # bins upwards, frames to the right
    np.testing.assert_array_equal(decoded[2, 0], png.WHITE)
    np.testing.assert_array_equal(decoded[1, 0], png.ORANGE)
    np.testing.assert_array_equal(decoded[0, 0], png.BLUE)
    np.testing.assert_array_equal(decoded[2, 1], png.ORANGE)  # beyond the limit
    np.testing.assert_array_equal(decoded[1, 1], png.BLUE)
    assert tuple(decoded[0, 1]) not in (png.WHITE, png.ORANGE)


@cache
def model() -> bytes:
    from pipeline.models import lightsernet
    from pipeline.models.folding import classifier_as_convolution, fold

    toy = Model(**TOY["model"], dropout=0.3, l2=1e-6, bn_momentum=0.9)
    folded = classifier_as_convolution(fold(lightsernet.build(59, 40, 3, toy)))
    return converter.to_int8(folded, np.random.default_rng(0).random((4, 59, 40, 1), "f"))


def write_model(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(model())
    features = YAML(typ="safe").load(ROOT / "params.yaml")["features"]
    card.write(Card(LABELS, SECONDS, RATE, features, "ptq"), file)


def test_the_memory_of_the_operators_is_drawn_with_its_figures(folder: Path) -> None:
    assert "Left out: the model to flash or its card is not here" in written().text
    write_model(paths.MODEL)
    content = written()
    operator, tensors = graph.read(model()).peak()
    peak = f"{sum(tensor.bytes for tensor in tensors):,}"
    assert f"the peak is {peak} bytes" in content.text and f"{peak}, the peak" in content.text
    pictures = [
        str(tag["alt"])
        for tag in content.all("img")
        if str(tag["src"]).startswith("data:image/svg")
    ]
    assert len(pictures) == 1 and operator.name in pictures[0] and "STM32H743" in pictures[0]


@dataclass
class Visit:
    """A page in a browser, and what it did there."""

    tab: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    @property
    def elsewhere(self) -> list[str]:
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make env")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM))
        yield chromium
        chromium.close()


Visitor = Callable[..., Visit]


@pytest.fixture
def visit(browser: Any) -> Iterator[Visitor]:
    tabs = []

    def open_(html: Path, width: int = 1280, scheme: str = "light") -> Visit:
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tabs.append(tab)
        found = Visit(tab)
        tab.on("request", lambda request: found.requests.append(request.url))
        tab.on("console", lambda message: found.complaints.append(message.text))
        tab.on("pageerror", lambda error: found.complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (found.complaints.append(dialog.message), dialog.dismiss()))
        tab.goto(html.resolve().as_uri(), wait_until="load")
        return found

    yield open_
    for tab in tabs:
        tab.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything in it, of classes and clips with awkward names."""
    folder = tmp_path_factory.mktemp("run")
    rows = predictions(
        [EVIL, "Unsicherheit-und-Verlegenheit", "neutral"],
        ("03", "a_speaker_with_a_long_name", "x1"),
    )
    write_run(folder, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_model(paths.MODEL)
        page.write(Path("page.html"))
    return folder / "page.html"


def test_the_browser_asks_nobody_and_complains_of_nothing(whole: Path, visit: Visitor) -> None:
    seen = visit(whole)
    assert seen.requests, "the page itself"
    assert seen.elsewhere == []
    assert seen.complaints == []
    assert seen.tab.evaluate("document.scripts.length") == 0


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_the_page_is_no_wider_than_the_window(whole: Path, visit: Visitor, width: int) -> None:
    assert visit(whole, width).overflow <= 0


def test_what_is_looked_for_in_the_browser_would_be_found(tmp_path: Path, visit: Visitor) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<img src='http://127.0.0.1:9/x.png'><div style='width:400px'>wide</div><script>console.log('said'); oops()</script>"
    )
    seen = visit(bad, 360)
    assert seen.elsewhere == ["http://127.0.0.1:9/x.png"]
    assert seen.overflow > 0
    assert any("said" in text for text in seen.complaints)
    assert any("oops" in text for text in seen.complaints)


FOCUSED = """() => {
  const e = document.activeElement;
  return [e.tagName, e.getAttribute("href") || e.getAttribute("aria-label") || e.textContent.trim(),
          getComputedStyle(e).outlineStyle, parseFloat(getComputedStyle(e).outlineWidth)];
}"""


def test_everything_is_reached_by_the_tabulator_and_shows_it(whole: Path, visit: Visitor) -> None:
    tab = visit(whole).tab
    reached: list[tuple[str, str]] = []
    for _ in range(400):
        tab.keyboard.press("Tab")
        tag, name, style, width = tab.evaluate(FOCUSED)
        if tag == "BODY":
            break
        assert style != "none" and width >= 1, f"no focus to be seen on {tag} {name}"
        if (tag, name) not in reached:
            reached.append((tag, name))
            if tag == "SUMMARY":
                tab.keyboard.press("Enter")  # what is folded is reached once it is opened
    assert reached[0] == ("A", "#main")
    tags = {"a": "A", "summary": "SUMMARY", "audio": "AUDIO", ".scroll": "DIV"}
    for selector, tag in tags.items():
        there = tab.locator(selector).count()
        assert there and sum(found == tag for found, _ in reached) == there, selector


def test_the_skip_link_leads_to_the_result(whole: Path, visit: Visitor) -> None:
    tab = visit(whole).tab
    tab.keyboard.press("Tab")
    assert tab.locator(".skip").bounding_box()["x"] >= 0
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"


def test_what_is_seen_is_told_too(whole: Path, visit: Visitor) -> None:
    tab = visit(whole).tab
    levels = tab.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert tab.evaluate("document.documentElement.lang") == "en"
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert tab.evaluate(
        "[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))"
    )
    assert tab.locator("img:not([alt]), img[alt='']").count() == 0
    assert tab.locator("svg:not([aria-hidden]):not([role=img][aria-label])").count() == 0
    assert tab.locator("audio:not([aria-label])").count() == 0
    assert tab.locator("th:not([scope])").count() == 0


def test_the_sound_plays_for_as_long_as_the_network_hears(whole: Path, visit: Visitor) -> None:
    tab = visit(whole).tab
    tab.wait_for_function("[...document.querySelectorAll('audio')].every(a => a.readyState >= 1)")
    durations = tab.evaluate("[...document.querySelectorAll('audio')].map(a => a.duration)")
    assert durations and durations == pytest.approx([SECONDS] * len(durations), abs=0.01)


COLOURS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = css => { canvas.fillStyle = "#000"; canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
                       return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3); };
  const ground = e => { for (; e; e = e.parentElement) {
    const found = getComputedStyle(e).backgroundColor;
    if (found !== "rgba(0, 0, 0, 0)") return found; } return "white"; };
  const texts = [...document.querySelectorAll("h1,h2,h3,p,a,dt,dd,th,td,span,figcaption,summary,pre,li")]
    .filter(e => !e.matches(".skip, .ramp") && e.textContent.trim());
  return texts.map(e => [e.textContent.trim().slice(0, 30), rgb(getComputedStyle(e).color), rgb(ground(e))]);
}"""


def contrast(a: list[int], b: list[int]) -> float:
    """WCAG 2's contrast ratio of two colours in sRGB."""

    def luminance(colour: list[int]) -> float:
        c = np.array(colour) / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_as_wcag_computes_it() -> None:
    assert contrast([0, 0, 0], [255, 255, 255]) == pytest.approx(21)
    assert contrast([119, 119, 119], [255, 255, 255]) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(whole: Path, visit: Visitor, scheme: str) -> None:
    found = visit(whole, scheme=scheme).tab.evaluate(COLOURS)
    assert len(found) > 100
    weak = [(text, round(contrast(a, b), 2)) for text, a, b in found if contrast(a, b) < 4.5]
    assert weak == []


def test_dark_mode_is_dark(whole: Path, visit: Visitor) -> None:
    light, dark = (
        visit(whole, scheme=scheme).tab.evaluate(COLOURS)[0][2] for scheme in ("light", "dark")
    )
    assert min(light) > 200 and max(dark) < 60


def test_on_paper_the_folded_tables_are_open_and_the_controls_gone(
    whole: Path, visit: Visitor
) -> None:
    tab = visit(whole).tab
    seen = "[...document.querySelectorAll('details table')].every(t => t.checkVisibility({contentVisibilityAuto: true}))"
    assert not tab.evaluate(seen)
    tab.emulate_media(media="print")
    tab.wait_for_function(seen)  # not at once on a busy machine
    assert not tab.locator("nav").is_visible() and not tab.locator("audio").first.is_visible()
