"""The app's page: what it shows is what `predict` says, for this machine alone, and nothing stays."""

import asyncio
import base64
import http.client
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tf_keras
from aiohttp import web
from conftest import ROOT, toy_content
from scipy.io import wavfile

from pipeline.app import server, upload
from pipeline.audio.decode import decode
from pipeline.audio.front_end import features
from pipeline.errors import AudioError, MissingError, ModelError, SernetError
from pipeline.params import Params
from pipeline.predict import Classifier, predict
from pipeline.tflite import card, converter

RATE = 16000
LABELS = ["high", "low", "<i>noise</i>"]
CHROMIUM = Path("/usr/bin/chromium")


def sound(label: str, seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hiss = rng.standard_normal(round(seconds * RATE))
    if label == LABELS[2]:
        return (0.1 * hiss).astype(np.float32)
    t = np.arange(len(hiss)) / RATE
    tone = np.sin(2 * np.pi * {"low": 440, "high": 3000}[label] * t)
    return (0.3 * tone + 0.01 * hiss).astype(np.float32)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 model of one second's input that knows two tones and noise: the nearest mean."""
    p = Params.model_validate(toy_content()).features
    x = np.stack(
        [features(sound(label, 1, seed), 1, RATE, p) for label in LABELS for seed in range(4)]
    )
    means = x.mean(axis=1).reshape(len(LABELS), 4, -1).mean(axis=1)
    inputs = tf_keras.layers.Input((*x.shape[1:], 1))
    mean = tf_keras.layers.AveragePooling2D((x.shape[1], 1))(inputs)
    near = tf_keras.layers.Conv2D(len(LABELS), (1, x.shape[2]))(mean)
    flat = tf_keras.layers.GlobalAveragePooling2D()(near)
    network = tf_keras.Model(inputs, tf_keras.layers.Softmax()(flat))
    sharpness = 0.02  # so that probabilities are neither 0 nor 1
    network.set_weights(
        [2 * sharpness * means.T[np.newaxis, :, np.newaxis], -sharpness * (means**2).sum(axis=1)]
    )
    file = tmp_path_factory.mktemp("model") / "model.tflite"
    file.write_bytes(converter.to_int8(network, x[..., np.newaxis]))
    card.write(card.Card(LABELS, 1.0, RATE, p.model_dump(), "ptq"), file)
    return file


@pytest.fixture
def recordings(tmp_path: Path) -> dict[str, Path]:
    """The toy's sounds, alone and one after the other, as 16-bit wav files."""
    written = {
        "low": sound("low", 1.5),
        "high": sound("high", 0.7),
        "both": np.concatenate([sound("low", 2.1), sound("high", 2.1)]),
        "fades": np.concatenate([sound("low", 2), np.zeros(RATE, np.float32)]),
        "silent": np.zeros(RATE, np.float32),
    }
    for name, y in written.items():
        soundfile.write(tmp_path / f"{name}.wav", y, RATE)
    (tmp_path / "notes.txt").write_text("no sound in here, only words")
    return {file.stem: file for file in tmp_path.iterdir()}


class Server:
    """The app in a thread of this process, at a free port."""

    def __init__(self, model: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        listener = server.listen(0)
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._runner = web.AppRunner(server.application(model))
        self._do(self._runner.setup())
        self._do(web.SockSite(self._runner, listener).start())

    def _do(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def close(self) -> None:
        self._do(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send what a browser or somebody else would; `Origin` is the page's unless given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        if method == "POST":
            headers = {"Origin": self.url, **headers}
        connection.request(
            method, path, body, {name: value for name, value in headers.items() if value}
        )
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content

    def classify(self, content: bytes) -> tuple[int, list[Any]]:
        response, answer = self.ask("POST", "/classify", content)
        return response.status, [json.loads(line) for line in answer.splitlines()]


@pytest.fixture(scope="session")
def served(model: Path) -> Iterator[Server]:
    running = Server(model)
    yield running
    running.close()


def wav(y: np.ndarray, rate: int, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, y, rate, format=form, subtype=subtype)
    return file.getvalue()


# What is heard


def test_windows_slide_by_the_hop_and_end_with_the_recording(model: Path) -> None:
    classifier = Classifier(model)
    found = [(a / RATE, b / RATE) for a, b in classifier.windows(round(2.2 * RATE), 0.5)]
    assert found == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0), (1.2, 2.2)]
    assert classifier.windows(2 * RATE, 0.5) == [(0, 16000), (8000, 24000), (16000, 32000)]
    assert classifier.windows(RATE, 0.5) == [(0, RATE)]
    assert classifier.windows(100, 0.5) == [(0, 100)]


@pytest.mark.parametrize(
    "changes", [{"labels": LABELS[1:]}, {"input_len": 2.0}, {"features": {"n_mfcc": 20}}]
)
def test_a_card_of_another_model_is_one_line(
    model: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    other = tmp_path / model.name
    other.write_bytes(model.read_bytes())
    content = json.loads(model.with_suffix(".json").read_text())
    changed = {k: content[k] | v if isinstance(v, dict) else v for k, v in changes.items()}
    other.with_suffix(".json").write_text(json.dumps(content))
    assert Classifier(other).card.labels == LABELS
    other.with_suffix(".json").write_text(json.dumps(content | changed))
    with pytest.raises(ModelError, match="they do not belong together"):
        Classifier(other)


def test_a_long_recording_has_no_more_windows_than_allowed(model: Path) -> None:
    classifier = Classifier(model)
    for seconds in (0.3, 1, 61, 61.3, 123.456, upload.MAX_SECONDS):
        windows = classifier.windows(round(seconds * RATE), server.hop(seconds, 1.0))
        assert len(windows) <= server.MOST_WINDOWS
        assert windows[-1][1] == round(seconds * RATE)
    assert server.hop(60, 1.0) == server.HOP < server.hop(300, 1.0)


def test_the_answer_is_predicts_and_each_window_is_predicts_of_that_piece(
    served: Server, model: Path, recordings: dict[str, Path], tmp_path: Path
) -> None:
    status, (whole, *windows) = served.classify(recordings["both"].read_bytes())
    assert status == 200
    (expected,) = predict([recordings["both"]], model)
    assert (whole["label"], whole["probabilities"]) == (expected.label, expected.probabilities)
    assert (whole["seconds"], whole["windows"]) == (4.2, len(windows))
    y = soundfile.read(recordings["both"], dtype="int16")[0]
    piece = tmp_path / "piece.wav"
    for window in windows:
        wavfile.write(piece, RATE, y[round(window["start"] * RATE) : round(window["end"] * RATE)])
        (expected,) = predict([piece], model)
        assert window["heard"] == {
            "label": expected.label,
            "probabilities": expected.probabilities,
        }
    # The toy does know its sounds: low comes first, then high, and the probabilities differ.
    heard = [window["heard"]["label"] for window in windows]
    assert heard[:3] == ["low"] * 3
    assert heard[-3:] == ["high"] * 3


@pytest.mark.parametrize(("form", "rate"), [("FLAC", 16000), ("OGG", 44100), ("MP3", 22050)])
def test_other_formats_and_rates_are_heard_as_predict_hears_them(
    served: Server, model: Path, tmp_path: Path, form: str, rate: int
) -> None:
    t = np.arange(2 * rate) / rate
    file = tmp_path / f"tone.{form.lower()}"
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * 440 * t), rate)
    _, (whole, *_) = served.classify(file.read_bytes())
    (expected,) = predict([file], model)
    assert (whole["label"], whole["probabilities"]) == (expected.label, expected.probabilities)


def test_a_silent_window_is_empty_and_a_silent_middle_is_an_error(
    served: Server, recordings: dict[str, Path]
) -> None:
    _, (_, *windows) = served.classify(recordings["fades"].read_bytes())
    assert windows[-1] == {"start": 2.0, "end": 3.0, "heard": None}
    assert windows[0]["heard"]["label"] == "low"
    status, (answer,) = served.classify(recordings["silent"].read_bytes())
    assert status == 422
    assert "expected speech" in answer["error"]


# Limits, and what is no recording


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty, 0 bytes"),
        (b"only words " * 20, "not audio that libsndfile reads"),
        (wav(sound("low", 1), RATE)[:-100], "truncated, the header promises 32000 bytes"),
        (wav(np.zeros(0), RATE), "no samples"),
        (wav(np.zeros(8000 * 301), 8000, "FLAC"), "lasts 301 s, expected at most 300 s: cut it"),
        (wav(np.zeros((4_000_000, 8)), 48000, "FLAC"), "has 32,000,000 samples over 8 channel"),
    ],
    ids=["empty", "text", "truncated", "no samples", "too long", "too many channels"],
)
def test_what_cannot_be_used_is_said_without_a_path(
    served: Server, content: bytes, said: str
) -> None:
    status, (answer,) = served.classify(content)
    assert status == 422
    assert answer["error"].startswith(said)
    assert "/proc" not in answer["error"]


def test_a_flac_that_hides_its_length_is_refused() -> None:
    content = bytearray(wav(sound("low", 2), RATE, "FLAC"))
    assert len(upload.samples(bytes(content), RATE)) == 2 * RATE
    content[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    content[22:26] = bytes(4)
    with pytest.raises(AudioError, match="does not say how long it is"):
        upload.samples(bytes(content), RATE)


def test_length_is_limited_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def spy(file: Path, rate: int) -> np.ndarray:
        decoded.append(file)
        return decode(file, rate)

    monkeypatch.setattr(upload, "decode", spy)
    with pytest.raises(AudioError, match="lasts"):
        upload.samples(wav(np.zeros(8000 * 301), 8000, "FLAC"), RATE)
    assert not decoded
    assert len(upload.samples(wav(np.zeros(8000 * 300), 8000, "FLAC"), RATE)) == 300 * RATE
    assert len(decoded) == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_too_many_bytes_are_refused_unread(
    served: Server, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(server, "samples", never)
    content = bytes(upload.MAX_BYTES + 1)
    if chunked:  # no length is announced: the server has to count
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
        pieces = (content[i : i + 1_000_000] for i in range(0, len(content), 1_000_000))
        connection.request("POST", "/classify", pieces, {"Origin": served.url}, encode_chunked=True)
        response = connection.getresponse()
        answer = response.read()
    else:
        response, answer = served.ask("POST", "/classify", content)
    assert response.status == 413
    assert json.loads(answer)["error"] == "over the limit of 20,000,000 bytes: cut it"


# Nothing stays


@contextmanager
def written_files() -> Iterator[list[str]]:
    """Every path that this process opens for writing in the meantime."""
    opened: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and not isinstance(arguments[0], int):
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                opened.append(os.fsdecode(path))

    sys.addaudithook(hook)  # stays for good: there is no way to remove one
    try:
        yield opened
    finally:
        watching = False


def memory_files() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except OSError:  # the listing's own
            continue
    return [name for name in found if "memfd:recording" in name]


def test_nothing_is_written_and_nothing_is_kept(
    served: Server, recordings: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = recordings["low"].read_bytes()
    with written_files() as opened:
        assert served.classify(content)[0] == 200
        assert served.classify(b"only words")[0] == 422
    assert opened == []
    assert memory_files() == []

    @contextmanager
    def on_disk(content: bytes) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield Path(file.name)

    monkeypatch.setattr(upload, "_in_memory", on_disk)
    with written_files() as opened:
        assert served.classify(content)[0] == 200
    assert opened  # a temporary file is noticed


def test_a_recording_is_in_memory_while_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    during: list[str] = []

    def spy(file: Path, rate: int) -> np.ndarray:
        during.extend(memory_files())
        return decode(file, rate)

    monkeypatch.setattr(upload, "decode", spy)
    upload.samples(wav(sound("low", 1), RATE), RATE)
    assert len(during) == 1
    assert memory_files() == []


# Who may ask


def test_only_this_machines_names_are_answered(served: Server) -> None:
    for host in (f"127.0.0.1:{served.port}", f"localhost:{served.port}"):
        assert served.ask("GET", "/", Host=host)[0].status == 200
    for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1:1", "127.0.0.1"):
        assert served.ask("GET", "/", Host=host)[0].status == 403


def test_only_the_page_itself_may_post(served: Server, recordings: dict[str, Path]) -> None:
    content = recordings["low"].read_bytes()
    for origin in ("http://evil.example", "null", "", f"https://127.0.0.1:{served.port}"):
        assert served.ask("POST", "/classify", content, Origin=origin)[0].status == 403
    assert served.ask("POST", "/classify", content)[0].status == 200


def test_every_answer_forbids_what_comes_from_elsewhere(
    served: Server, recordings: dict[str, Path]
) -> None:
    answers = [
        served.ask("GET", "/"),
        served.ask("GET", "/static/app.js"),
        served.ask("GET", "/nowhere"),
        served.ask("GET", "/static/../server.py"),
        served.ask("GET", "/", Host="evil.example"),
        served.ask("POST", "/classify", b"only words"),
        served.ask("POST", "/classify", recordings["low"].read_bytes()),
    ]
    assert [response.status for response, _ in answers] == [200, 200, 404, 404, 403, 422, 200]
    for response, _ in answers:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in response.headers


# The command


def start(model: Path, port: int, before: str = "") -> subprocess.Popen[str]:
    code = (
        f"import sys; {before}\nfrom pathlib import Path\nfrom pipeline.app import serve\n"
        f"from pipeline.errors import run\nrun(lambda: serve(Path({str(model)!r}), {port}))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def listening(pid: int) -> list[str]:
    """Addresses at which a process accepts connections, as the kernel writes them."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        if match := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
            inodes.add(match[1])
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]


def test_it_listens_on_the_loopback_address_alone_until_ctrl_c(model: Path) -> None:
    process = start(model, 0)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = re.fullmatch(r"sernet app: http://127\.0\.0\.1:(\d+)/ \(Ctrl-C stops it\)\n", line)
        assert port
        assert listening(process.pid) == [f"0100007F:{int(port[1]):04X}"]
        second = start(model, int(port[1]))
        _, said = second.communicate(timeout=30)
        assert second.returncode == 1
        assert f"cannot listen on port {port[1]} of 127.0.0.1: Address already in use" in said
        assert said.count("\n") == 1
        process.send_signal(signal.SIGINT)
        output, said = process.communicate(timeout=30)
        assert (process.returncode, output, said) == (0, "", "")
    finally:
        process.kill()


def test_without_its_library_it_says_how_to_get_it(model: Path) -> None:
    process = start(model, 0, before="sys.modules['aiohttp'] = None")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said.startswith("sernet: error: no aiohttp, which serves the page: install")
    assert said.count("\n") == 1


def test_a_missing_model_and_an_impossible_port_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no .*model.tflite, expected .* run `dvc repro`"):
        server.application(tmp_path / "model.tflite")
    with pytest.raises(SernetError, match=r"port 70000 .* between 0 and 65535"):
        server.listen(70000)


# In a browser


# Not for the session: its driver is a running event loop in this thread, which other files' tests
# would then find there.
@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium whose microphone hears the low tone."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    spoken = tmp_path_factory.mktemp("microphone") / "low.wav"
    soundfile.write(spoken, sound("low", 4), RATE)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox", "--disable-gpu",
                "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={spoken}",
            ],
        )  # fmt: skip
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, served: Server) -> Iterator[Any]:
    """The page on a phone's screen; it may not complain, nor ask anybody else for anything."""
    context = chromium.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    # Chromium writes each refusal to the console; a refused recording is an answer like another.
    page.on(
        "console",
        lambda message: (
            message.text.startswith("Failed to load resource") or complaints.append(message.text)
        ),
    )
    page.on(
        "response",
        lambda response: (
            response.ok
            or response.url.endswith("/classify")
            or complaints.append(f"{response.status} {response.url}")
        ),
    )
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.url)
    yield page
    context.close()
    assert complaints == []
    assert {url for url in asked if not url.startswith((served.url + "/", "blob:"))} == set()


def wait_for_all(page: Any) -> None:
    page.wait_for_selector("#result:not([hidden])")
    page.wait_for_selector("#progress", state="hidden")


def shown(page: Any) -> dict[str, str]:
    rows = page.locator("#bars tr").all()
    return {
        row.locator("th").inner_text(): row.locator("td:last-child").inner_text() for row in rows
    }


def as_shown(probabilities: dict[str, float]) -> dict[str, str]:
    """As the command prints them."""
    return {label: f"{p:.1%}" for label, p in probabilities.items()}


def test_a_chosen_file_shows_predicts_label_and_its_course(
    page: Any, model: Path, recordings: dict[str, Path]
) -> None:
    page.set_input_files("#file", recordings["both"])
    wait_for_all(page)
    (expected,) = predict([recordings["both"]], model)
    assert page.inner_text("#label") == expected.label
    assert shown(page) == as_shown(expected.probabilities)
    assert page.inner_text("#status") == f"{expected.label}, {shown(page)[expected.label]}"
    assert "from 1.6 to 2.6 s" in page.inner_text("#middle")
    said = page.text_content("#stretches")
    assert re.fullmatch(
        r"Most probable: low from 0\.0 to ([\d.]+) s, (.* s, )?high from [\d.]+ to 4\.2 s\.", said
    )
    assert page.locator("#rows tr").count() == 8
    assert page.locator("#chart svg").count() == len(LABELS)
    # The row of the low tone is strong at the beginning, that of the high one is not.
    low, high = (
        page.locator("#chart svg").nth(LABELS.index(name)).locator(".strong").get_attribute("d")
        for name in ("low", "high")
    )
    assert low.startswith("M0 1")
    assert not high.startswith("M0 1")
    assert high.endswith("H4.2V1Z")


def test_a_dropped_file_and_the_next_one_replaces_it(
    page: Any, recordings: dict[str, Path]
) -> None:
    drop = """([base64, name]) => {
        const data = new DataTransfer();
        const content = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
        data.items.add(new File([content], name));
        document.body.dispatchEvent(
            new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    for name, label in (("both", None), ("high", "high"), ("low", "low")):
        content = base64.b64encode(recordings[name].read_bytes()).decode()
        page.evaluate(drop, [content, f"<b>{name}</b>.wav"])
        if label:  # the first is dropped while it is being heard
            page.wait_for_function(
                "name => document.getElementById('name').textContent.startsWith(name)",
                arg=f"<b>{name}</b>.wav, ",
            )
            wait_for_all(page)
            assert page.inner_text("#label") == label
    assert page.locator("#name b").count() == 0  # markup in a name is text
    assert page.locator("#bars i").count() == 0  # and in a label
    assert set(shown(page)) == set(LABELS)


def test_what_is_no_recording_gets_a_clear_message(page: Any, recordings: dict[str, Path]) -> None:
    page.set_input_files("#file", recordings["notes"])
    page.wait_for_selector("#error:not(:empty)")
    assert page.inner_text("#error").startswith("notes.txt: not audio that libsndfile reads (wav,")
    assert page.locator("#result").is_hidden()
    page.set_input_files("#file", recordings["low"])
    wait_for_all(page)
    assert page.locator("#error").is_hidden()


def test_too_large_a_file_is_refused_by_the_page_and_by_the_server(
    page: Any, tmp_path: Path
) -> None:
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(upload.MAX_BYTES + 1))
    said = "over the limit of 20,000,000 bytes: cut it"
    methods: list[str] = []
    page.on("request", lambda request: methods.append(request.method))
    page.set_input_files("#file", large)
    page.wait_for_selector("#error:not(:empty)")
    assert page.inner_text("#error") == f"large.wav: {said}"
    assert "POST" not in methods
    page.evaluate("document.body.dataset.maxBytes = 1e9")
    page.set_input_files("#file", large)
    page.wait_for_selector("#error:not(:empty)")
    assert page.inner_text("#error") == f"large.wav: {said}"
    assert "POST" in methods


def test_the_microphone_is_recorded_and_heard(
    page: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []

    def spy(content: bytes, rate: int) -> np.ndarray:
        sent.append(content)
        return upload.samples(content, rate)

    monkeypatch.setattr(server, "samples", spy)
    page.click("#record")
    page.wait_for_function("() => parseFloat(document.getElementById('clock').textContent) >= 2")
    assert page.inner_text("#record") == "Stop and listen"
    page.click("#record")
    wait_for_all(page)
    (content,) = sent
    file = tmp_path / "sent.wav"
    file.write_bytes(content)
    (expected,) = predict([file], model)
    assert page.inner_text("#label") == expected.label == "low"
    assert shown(page) == as_shown(expected.probabilities)
    y, rate = soundfile.read(file)
    assert len(y) >= 1.95 * rate  # from there on the clock shows 2.0
    spectrum = np.abs(np.fft.rfft(y[-rate:] * np.hanning(rate)))
    assert abs(np.argmax(spectrum) - 440) <= 2


def test_the_microphone_stops_by_itself(page: Any) -> None:
    page.evaluate("document.body.dataset.recordingSeconds = 0.5")
    page.click("#record")
    wait_for_all(page)
    seconds = float(re.search(r"([\d.]+) s", page.inner_text("#name"))[1])
    assert 0.5 <= seconds < 1.5
    assert page.inner_text("#record") == "Record"


def test_a_refused_microphone_gets_a_clear_message(page: Any) -> None:
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia ="
        " () => Promise.reject(new DOMException('no', 'NotAllowedError')); }"
    )
    page.click("#record")
    page.wait_for_selector("#error:not(:empty)")
    assert "does not let this page use the microphone" in page.inner_text("#error")


def test_a_server_that_is_gone_gets_a_clear_message(page: Any, recordings: dict[str, Path]) -> None:
    page.route("**/classify", lambda route: route.abort())
    page.set_input_files("#file", recordings["low"])
    page.wait_for_selector("#error:not(:empty)")
    assert "is sernet app still running?" in page.inner_text("#error")


def test_a_bug_says_where_its_traceback_is(
    page: Any,
    recordings: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Other libraries switch off the loggers that they find when they set up their own.
    monkeypatch.setattr(logging.getLogger("aiohttp.server"), "disabled", False)
    caplog.set_level(logging.ERROR, "aiohttp.server")
    monkeypatch.setattr(server, "samples", lambda *_: 1 / 0)
    page.set_input_files("#file", recordings["low"])
    page.wait_for_selector("#error:not(:empty)")
    assert "The server answered 500; the terminal" in page.inner_text("#error")
    assert "ZeroDivisionError" in caplog.text


def test_every_probability_reads_as_the_command_prints_it(page: Any) -> None:
    steps = [round(step / 256, 4) for step in range(257)]
    # The page's own function, which its module does not export.
    source = (ROOT / "pipeline/app/static/app.js").read_text("utf-8")
    function = re.search(r"function percent\(p\) \{.*?\n\}", source, re.DOTALL)
    assert function
    said = page.evaluate(f"(steps) => {{ {function[0]}; return steps.map(percent); }}", steps)
    assert said == [f"{p:.1%}" for p in steps]
    plain = page.evaluate("(steps) => steps.map((p) => `${(100 * p).toFixed(1)}%`)", steps)
    assert plain != said  # why it has one


def test_everything_is_reached_by_the_keyboard(page: Any, recordings: dict[str, Path]) -> None:
    page.set_input_files("#file", recordings["both"])
    wait_for_all(page)
    page.evaluate("document.querySelector('details').open = true")
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.className"
                          " || document.activeElement.tagName")
        )  # fmt: skip
    order = ["file", "record", "player", "SUMMARY", "scroll"]
    assert [name for name in dict.fromkeys(reached) if name in order] == order


def test_it_fits_a_phone_and_follows_dark_mode(page: Any, recordings: dict[str, Path]) -> None:
    page.set_input_files("#file", recordings["both"])
    wait_for_all(page)
    page.evaluate("document.querySelector('details').open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    row, axis, last = (
        page.locator(f"#chart {each}").last.bounding_box() for each in ("svg", ".axis", ".tick")
    )
    assert (axis["x"], axis["width"]) == (row["x"], row["width"])  # the axis is the rows'
    assert last["x"] + last["width"] <= 360
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]


def test_playing_moves_the_head_and_says_what_is_heard(
    page: Any, recordings: dict[str, Path]
) -> None:
    page.set_input_files("#file", recordings["both"])
    wait_for_all(page)
    for second, label in ((0.5, "low"), (3.9, "high")):
        page.evaluate(
            "second => { document.getElementById('player').currentTime = second; }", second
        )
        page.wait_for_function(
            "said => document.getElementById('now').textContent.startsWith(said)",
            arg=f"At {second} s: {label}, ",
        )
        at = float(page.evaluate("document.querySelector('.head').style.getPropertyValue('--at')"))
        assert at == pytest.approx(second / 4.2)
