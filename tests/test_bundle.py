"""The bundle: C that compiles without a warning, takes the bytes it says, and computes the same."""

import ctypes
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import arm
import numpy as np
import pytest
from conftest import ROOT, toy_content
from test_int8 import CLASSES, X, folded, ptq

from pipeline import evaluate, export, paths
from pipeline.bundle import c_code, constants, files, schedule
from pipeline.bundle.budgeted import Budgeted
from pipeline.bundle.config import configure
from pipeline.bundle.footprint import WAYS, flash, ram
from pipeline.errors import AudioError, ModelError, ParamsError, SernetError
from pipeline.mcu import boards, budget, scratch
from pipeline.mcu.arena import Micro, smallest
from pipeline.mcu.cores import CMSIS_NN, ESP_NN
from pipeline.mcu.front_end import DeviceFrontEnd, Mode
from pipeline.mcu.stream import memory, micro
from pipeline.mcu.variants import Surroundings
from pipeline.params import Evaluate
from pipeline.tflite import converter, graph
from pipeline.tflite.card import Card
from pipeline.tflite.card import write as write_card
from pipeline.tflite.int8 import Int8Model
from pipeline.tflite.streaming import Streamed, split
from pipeline.tflite.streaming.run import StreamingInterpreter

RATE = 16000
LABELS = ["Ärger", 'a "quoted" one', "why??/", "neutral", "joy\\"]
FRONT_END = ("sernet_front_end.c", "sernet_level.c", "sernet_frame.c", "sernet_tables.c")
STRICT = ("-O2", *arm.WARNINGS)
LEAST_LEVEL = 20.0  # in steps of int16
KEEP_AUDIO, STREAM = "-DSERNET_KEEP_AUDIO", "-DSERNET_STREAM"
OPTIONS = {"whole": (KEEP_AUDIO,), "deferred": (), "stream": (STREAM,)}
CMSIS = os.environ.get("SERNET_CMSIS_DSP")
CMSIS_OPTIONS = ("-DSERNET_USE_CMSIS_DSP", "-D__GNUC_PYTHON__", "-isystem", f"{CMSIS}/Include")
CMSIS_SOURCES = (
    "TransformFunctions/arm_mfcc_f32.c", "TransformFunctions/arm_mfcc_init_f32.c",
    "TransformFunctions/arm_rfft_fast_f32.c", "TransformFunctions/arm_rfft_fast_init_f32.c",
    "TransformFunctions/arm_cfft_f32.c", "TransformFunctions/arm_cfft_init_f32.c",
    "TransformFunctions/arm_cfft_radix8_f32.c", "TransformFunctions/arm_bitreversal2.c",
    "CommonTables/arm_common_tables.c", "CommonTables/arm_const_structs.c",
    "BasicMathFunctions/arm_scale_f32.c", "BasicMathFunctions/arm_mult_f32.c",
    "BasicMathFunctions/arm_offset_f32.c", "BasicMathFunctions/arm_dot_prod_f32.c",
    "ComplexMathFunctions/arm_cmplx_mag_f32.c", "FastMathFunctions/arm_vlog_f32.c",
    "MatrixFunctions/arm_mat_vec_mult_f32.c", "StatisticsFunctions/arm_absmax_f32.c",
)  # fmt: skip

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler, cc")
needs_cxx = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler, c++")
needs_arm = pytest.mark.skipif(
    shutil.which(arm.COMPILER) is None,
    reason=f"no {arm.COMPILER} (Debian: gcc-arm-none-eabi, libnewlib-arm-none-eabi)",
)
needs_cmsis = pytest.mark.skipif(
    CMSIS is None, reason="SERNET_CMSIS_DSP does not name a folder with CMSIS-DSP's sources"
)


def card(**changes: object) -> Card:
    return Card(LABELS, 1.0, RATE, toy_content()["features"] | changes, "ptq")


def speech(n: int, seed: int, peak: float = 9000.0) -> np.ndarray:
    """Voiced syllables with pauses and some noise, int16 [shape=(n,)]."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / RATE
    voice = sum(np.sin(2 * np.pi * h * (120 + 30 * np.sin(7 * t)) * t) / h for h in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * t + seed), 0, None) ** 2
    y = voice * syllables + 0.003 * rng.standard_normal(n)
    return np.clip(np.rint(y * peak / np.abs(y).max()), -32768, 32767).astype(np.int16)


CLIPS = {
    "exact": speech(RATE, 1),
    "short": speech(11_111, 2),
    "long": speech(20_001, 3),
    "loud": speech(RATE, 4, peak=80_000.0),  # reaches -32768, whose magnitude int16 lacks
}


@cache
def arena_bytes() -> int:
    return smallest(ptq()).bytes


def stream_graphs() -> list[graph.Graph]:
    return [graph.read(content) for content in (*streamed().parts, streamed().head)]


def evaluation(
    level: str = "deferred", name: str = "stm32h743", **of_board: object
) -> dict[str, Any]:
    """What `evaluate` writes of the toy model on a board."""
    p = Evaluate.model_validate(toy_content()["evaluate"] | {"level": level})
    around = Surroundings(p, card().feature_params(), 1.0, RATE)
    need = around.need("plain", arena_bytes(), len(ptq()), graph.read(ptq()))
    board = boards.get(name).model_copy(update=of_board)
    return {
        "no_front_end": "",
        "budget": {**budget.make(name, board, need).to_dict(), "level": p.level},
        "sha256": evaluate.hashes(ptq(), ptq()),
        "variants": {"streaming": {"scratch": scratch.largest(stream_graphs())}},
    }


@cache
def budgeted() -> Budgeted:
    return Budgeted.of(evaluation())


@cache
def streamed() -> Streamed:
    return split(ptq())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "sernet"
    files.write(folder, ptq(), card(), budgeted(), CLIPS, streamed(), LEAST_LEVEL)
    return folder


def compiled(folder: Path, sources: tuple[str, ...], *options: str) -> ctypes.CDLL:
    """A shared library of files of the bundle."""
    library = folder / f"{abs(hash((sources, options)))}.so"
    subprocess.run(
        ["cc", *STRICT, "-shared", "-fPIC", *options, *sources, "-lm", "-o", str(library)],
        cwd=folder, check=True,
    )  # fmt: skip
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="module")
def front_end(bundle: Path) -> ctypes.CDLL:
    return compiled(bundle, FRONT_END)


def edited(bundle: Path, copy: Path, file: str, old: str, new: str) -> Path:
    """A copy of the bundle in which a file differs: for controls."""
    shutil.copytree(bundle, copy)
    text = (copy / file).read_text("utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new), "utf-8")
    return copy


def nm(file: Path, program: str = "nm") -> dict[str, int]:
    """Bytes of what an object file or a program holds, by name."""
    listed = subprocess.run(
        [program, "--print-size", "--radix=d", str(file)], check=True, capture_output=True, text=True
    ).stdout.splitlines()  # fmt: skip
    return {line.split()[-1]: int(line.split()[1]) for line in listed if len(line.split()) == 4}


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def state() -> ctypes.Array[ctypes.c_char]:
    """Memory for any of the C structures."""
    return ctypes.create_string_buffer(b"\xa5" * (1 << 16))  # nobody clears it


def whole(library: ctypes.CDLL, audio: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Status, features and int8 rows of a clip."""
    features, rows = np.zeros((59, 40), np.float32), np.zeros((59, 40), np.int8)
    w = state()
    status = library.sernet_whole_start(w, pointer(audio), len(audio))
    if status == 0:
        for t in range(59):
            library.sernet_whole_features(w, t, pointer(features[t]))
            library.sernet_whole_row(w, t, pointer(rows[t]))
    return status, features, rows


def deferred(library: ctypes.CDLL, audio: np.ndarray, hop: int) -> tuple[int, np.ndarray]:
    """Status and int8 rows of a clip that arrives `hop` samples at a time."""
    rows, late = np.zeros((59, 40), np.int8), np.zeros((59, 40), np.float32)  # enough for log-mel
    a = state()
    library.sernet_deferred_start(a, pointer(rows), pointer(late), len(audio))
    for start in range(0, len(audio), hop):
        piece = audio[start : start + hop].copy()
        library.sernet_arriving_hear(a, pointer(piece), len(piece))
    return library.sernet_arriving_finish(a), rows


def running(library: ctypes.CDLL, audio: np.ndarray, hop: int) -> tuple[int, np.ndarray]:
    rows: list[np.ndarray] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int8))
    def take(context: int | None, row: "ctypes._Pointer[ctypes.c_int8]") -> None:
        rows.append(np.ctypeslib.as_array(row, (40,)).copy())

    a = state()
    library.sernet_running_start(a, take, None, len(audio))
    for start in range(0, len(audio), hop):
        piece = audio[start : start + hop].copy()
        library.sernet_arriving_hear(a, pointer(piece), len(piece))
        complete = len(rows)
    status = library.sernet_arriving_finish(a)
    assert complete <= len(rows) == 59
    return status, np.array(rows)


def assert_same_rows(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for values that lie half-way between two steps, to floating-point accuracy."""
    off = np.abs(found.astype(int) - expected)
    assert off.max() <= 1
    assert (off > 0).mean() < 0.002


# The front end


@needs_cc
@pytest.mark.parametrize("name", CLIPS)
def test_whole_gives_the_features_of_training(front_end: ctypes.CDLL, name: str) -> None:
    golden = files.golden(name, CLIPS[name], ptq(), card(), arena_bytes())
    status, features, rows = whole(front_end, CLIPS[name])
    assert status == 0
    # float32 throughout against librosa's partly float64; the logarithm magnifies small bands.
    np.testing.assert_allclose(features, golden.features, atol=1e-3)
    assert_same_rows(rows, golden.input)


@needs_cc
def test_the_comparison_notices_another_offset(bundle: Path, tmp_path: Path) -> None:
    copy = edited(
        bundle, tmp_path / "b", "sernet_config.h", "SERNET_ARM_OFFSET 1e-06f", "SERNET_ARM_OFFSET 1e-03f"
    )  # fmt: skip
    golden = files.golden("exact", CLIPS["exact"], ptq(), card(), arena_bytes())
    _, features, rows = whole(compiled(copy, FRONT_END), CLIPS["exact"])
    assert np.abs(features - golden.features).max() > 0.02
    with pytest.raises(AssertionError):
        assert_same_rows(rows, golden.input)


@needs_cc
@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("mode", ["whole", "deferred", "running"])
def test_each_way_is_cmsis_dsps(front_end: ctypes.CDLL, name: str, mode: Mode) -> None:
    scale, zero_point = Int8Model(ptq()).input_quantization
    device = DeviceFrontEnd("f32", 1.0, RATE, card().feature_params())
    expected = device.quantized(CLIPS[name], scale, zero_point, mode)
    status, rows = {
        "whole": lambda: whole(front_end, CLIPS[name])[::2],
        "deferred": lambda: deferred(front_end, CLIPS[name], 256),
        "running": lambda: running(front_end, CLIPS[name], 256),
    }[mode]()
    assert status == 0
    assert_same_rows(rows, expected)


@needs_cc
def test_the_ways_differ_where_they_should(front_end: ctypes.CDLL) -> None:
    rows = [
        whole(front_end, CLIPS["exact"])[2],
        deferred(front_end, CLIPS["exact"], 256)[1],
        running(front_end, CLIPS["exact"], 256)[1],
    ]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        with pytest.raises(AssertionError):
            assert_same_rows(rows[a], rows[b])
    np.testing.assert_array_equal(rows[1][:, 1:], rows[2][:, 1:])  # only coefficient 0 is levelled


LOG_MEL = {"kind": "log_mel", "n_mels": 40, "log_offset": 1e-3}


@pytest.fixture(scope="module")
def log_mel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log-mel") / "sernet"
    files.write(folder, ptq(), card(**LOG_MEL), budgeted(), CLIPS, streamed(), LEAST_LEVEL)
    return folder


@needs_cc
@pytest.mark.parametrize("name", CLIPS)
def test_log_mel_is_that_of_training_and_levelled_in_every_band(log_mel: Path, name: str) -> None:
    library, audio = compiled(log_mel, FRONT_END), CLIPS[name]
    golden = files.golden(name, audio, ptq(), card(**LOG_MEL), arena_bytes())
    status, features, rows = whole(library, audio)
    assert status == 0
    np.testing.assert_allclose(features, golden.features, atol=1e-4)
    assert_same_rows(rows, golden.input)
    scale, zero_point = Int8Model(ptq()).input_quantization
    device = DeviceFrontEnd("f32", 1.0, RATE, card(**LOG_MEL).feature_params())
    for way, mode in ((deferred, "deferred"), (running, "running")):
        status, rows = way(library, audio, 256)
        assert status == 0
        assert_same_rows(rows, device.quantized(audio, scale, zero_point, mode))


@needs_cc
def test_liftered_coefficients_are_those_of_training(tmp_path: Path) -> None:
    of = card(lifter=80, clip=100.0)
    files.write(tmp_path / "b", ptq(), of, budgeted(), CLIPS, streamed(), LEAST_LEVEL)
    library, audio = compiled(tmp_path / "b", FRONT_END), CLIPS["exact"]
    golden = files.golden("exact", audio, ptq(), of, arena_bytes())
    plain = files.golden("exact", audio, ptq(), card(clip=100.0), arena_bytes())
    status, features, rows = whole(library, audio)
    assert status == 0
    np.testing.assert_allclose(features, golden.features, rtol=1e-5, atol=1e-3)
    assert_same_rows(rows, golden.input)
    assert np.abs(golden.features - plain.features).max() > 1


@needs_cc
@pytest.mark.parametrize("kind", ["mfcc", "log_mel"])
def test_without_a_level_each_way_gives_the_rows_of_training(tmp_path: Path, kind: str) -> None:
    of = card(**(LOG_MEL if kind == "log_mel" else {}), level="none")
    files.write(tmp_path / "b", ptq(), of, budgeted(), CLIPS, streamed(), LEAST_LEVEL)
    library = compiled(tmp_path / "b", FRONT_END)
    for name, audio in CLIPS.items():
        golden = files.golden(name, audio, ptq(), of, arena_bytes())
        status, features, rows = whole(library, audio)
        assert status == 0
        np.testing.assert_allclose(features, golden.features, atol=1e-3)
        assert_same_rows(rows, golden.input)
        for way in (deferred, running):
            np.testing.assert_array_equal(way(library, audio, 256)[1], rows)
    assert whole(library, np.zeros(RATE, np.int16))[0] == -1
    of = card(**(LOG_MEL if kind == "log_mel" else {}))
    levelled = files.golden("exact", CLIPS["exact"], ptq(), of, arena_bytes())
    with pytest.raises(AssertionError):
        assert_same_rows(whole(library, CLIPS["exact"])[2], levelled.input)
    for options in OPTIONS.values():
        subprocess.run(
            ["cc", *STRICT, *options, "-fsyntax-only", "sernet_memory.c", "host_test.c"],
            cwd=tmp_path / "b", check=True,
        )  # fmt: skip


@needs_cc
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SERNET_LEVELLED 40u", "SERNET_LEVELLED 1u"),
        ("SERNET_SHIFT (6.9077554f)", "SERNET_SHIFT (0.0f)"),
        ("SERNET_SILENT (-6.9077554f)", "SERNET_SILENT (0.0f)"),
        ("SERNET_LOG_OFFSET 0.001f", "SERNET_LOG_OFFSET 0.1f"),
    ],
)
def test_log_mel_with_one_constant_wrong_is_noticed(
    log_mel: Path, tmp_path: Path, old: str, new: str
) -> None:
    copy = edited(log_mel, tmp_path / "b", "sernet_config.h", old, new)
    audio = np.concatenate([np.zeros(RATE // 2, np.int16), CLIPS["exact"][: RATE // 2]])
    right, wrong = (
        running(compiled(folder, FRONT_END), audio, 256)[1] for folder in (log_mel, copy)
    )
    with pytest.raises(AssertionError):
        assert_same_rows(wrong, right)


@needs_cc
def test_the_own_test_of_a_bundle_for_log_mel_passes(log_mel: Path) -> None:
    sources = [*FRONT_END, "host_test.c", "sernet_golden.c", "sernet_golden_audio.c"]
    subprocess.run(["cc", *STRICT, *sources, "-lm", "-o", "host_test"], cwd=log_mel, check=True)
    done = subprocess.run(["./host_test"], cwd=log_mel, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@needs_cc
@pytest.mark.parametrize("way", [deferred, running])
def test_how_many_samples_come_at_a_time_changes_nothing(
    front_end: ctypes.CDLL, way: Callable[[ctypes.CDLL, np.ndarray, int], tuple[int, np.ndarray]]
) -> None:
    for name in ("short", "long"):
        expected = way(front_end, CLIPS[name], 256)[1]
        for hop in (1, 300, 7777, 30_000):
            np.testing.assert_array_equal(way(front_end, CLIPS[name], hop)[1], expected)


@needs_cc
def test_the_level_is_numpys_percentile(front_end: ctypes.CDLL) -> None:
    front_end.sernet_level_value.restype = ctypes.c_float
    rng = np.random.default_rng(0)
    clips = [rng.integers(-32768, 32768, n, dtype=np.int16) for n in (1, 2, 3, 999, 1001, 16000)]
    clips += [np.arange(0, 16000, dtype=np.int16), np.arange(16000, 0, -1).astype(np.int16)]
    clips += [rng.integers(-3, 4, 16000, dtype=np.int16), np.full(16000, -32768, np.int16)]
    for clip in clips:
        level = state()
        front_end.sernet_level_start(level)
        front_end.sernet_level_hear(level, pointer(clip), len(clip))
        expected = np.percentile(np.abs(clip.astype(int)), 99.9)
        assert front_end.sernet_level_value(level) == pytest.approx(expected, rel=1e-6)


@needs_cc
def test_the_level_of_a_clip_of_minutes_is_numpys_percentile(bundle: Path, tmp_path: Path) -> None:
    n = 5_000_000  # 999 times as many do not fit 32 bits
    largest = n - 999 * (n - 1) // 1000
    copy = edited(
        bundle, tmp_path / "b", "sernet_config.h", "SERNET_LARGEST 17u", f"SERNET_LARGEST {largest}u"
    )  # fmt: skip
    library, level = compiled(copy, ("sernet_level.c",)), state()
    library.sernet_level_value.restype = ctypes.c_float
    clip = np.random.default_rng(0).integers(-32768, 32768, n, dtype=np.int16)
    library.sernet_level_start(level)
    library.sernet_level_hear(level, pointer(clip), n)
    expected = np.percentile(np.abs(clip.astype(int)), 99.9)
    assert library.sernet_level_value(level) == pytest.approx(expected, rel=1e-6)


@needs_cc
def test_silence_is_said_so(front_end: ctypes.CDLL) -> None:
    silence = np.zeros(RATE, np.int16)
    assert whole(front_end, silence)[0] == -1
    assert deferred(front_end, silence, 256)[0] == -1
    assert running(front_end, silence, 256)[0] == -1


@needs_cc
def test_a_quiet_room_is_silence_and_soft_speech_is_not(
    bundle: Path, front_end: ctypes.CDLL
) -> None:
    ways = (
        lambda library, audio: whole(library, audio)[0],
        lambda library, audio: deferred(library, audio, 256)[0],
        lambda library, audio: running(library, audio, 256)[0],
    )
    room = np.random.default_rng(0).integers(-1, 2, RATE, dtype=np.int16)
    anything = compiled(bundle, FRONT_END, "-DSERNET_LEAST_LEVEL=0.0f")
    for way in ways:
        assert way(front_end, room) == -1
        assert way(anything, room) == 0  # scaled to full scale and labelled
        assert way(anything, np.zeros(RATE, np.int16)) == -1
        assert way(front_end, room + np.int16(100)) == 0  # a DC offset counts as level
        for peak, status in ((18.0, -1), (30.0, 0)):
            soft = speech(RATE, 1, peak)
            level = np.percentile(np.abs(soft.astype(int)), 99.9)
            assert bool(level < LEAST_LEVEL) is (status == -1)
            assert way(front_end, soft) == status


@needs_cc
def test_a_coefficient_is_quantized_as_in_python(front_end: ctypes.CDLL) -> None:
    front_end.sernet_quantize.argtypes = [ctypes.c_float]
    front_end.sernet_quantize.restype = ctypes.c_int8
    model = Int8Model(ptq())
    scale = model.input_quantization[0]
    steps = np.concatenate([np.arange(-300, 300) / 2, np.linspace(-200, 200, 1001)])
    values = (steps * scale).astype(np.float32)
    found = [front_end.sernet_quantize(float(value)) for value in values]
    assert found == model.quantized(values.clip(-10, 10)).tolist()


@needs_cc
def test_the_bundles_own_test_passes_and_can_fail(bundle: Path, tmp_path: Path) -> None:
    readme = (bundle / "README.md").read_text("utf-8")
    command = re.search(r"`(cc -std=c99 .* && \./host_test)`", readme)
    assert command
    done = subprocess.run(command[1], shell=True, cwd=bundle, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 3 * len(CLIPS)
    for array, file in (
        ("float features_2", "sernet_golden_audio.c"), ("int8_t input_0", "sernet_golden.c"),
        ("int8_t deferred_3", "sernet_golden_audio.c"),
    ):  # fmt: skip
        begin = f"{array}[] = {{\n    "
        copy = edited(bundle, tmp_path / array, file, begin, f"{begin}7 + ")
        assert subprocess.run(command[1], shell=True, cwd=copy, capture_output=True).returncode == 1


@needs_cc
@needs_cmsis
def test_cmsis_dsps_own_sources_give_the_features_too(bundle: Path) -> None:
    assert CMSIS
    objects = bundle / "cmsis"
    objects.mkdir()
    for source in CMSIS_SOURCES:
        subprocess.run(
            ["cc", "-O2", "-w", "-fPIC", "-D__GNUC_PYTHON__", f"-I{CMSIS}/Include",
             f"-I{CMSIS}/PrivateInclude", "-c", f"{CMSIS}/Source/{source}"],
            cwd=objects, check=True,
        )  # fmt: skip
    library = compiled(
        bundle, (*FRONT_END, *(str(file) for file in sorted(objects.glob("*.o")))),
        *CMSIS_OPTIONS,
    )  # fmt: skip
    for name, audio in CLIPS.items():
        golden = files.golden(name, audio, ptq(), card(), arena_bytes())
        _, features, rows = whole(library, audio)
        np.testing.assert_allclose(features, golden.features, atol=1e-3)
        assert_same_rows(rows, golden.input)


# What is in the files


def test_a_card_from_before_there_was_a_choice_of_level_is_read_and_a_strange_one_refused() -> None:
    features = {
        name: value for name, value in card().features.items() if name not in ("level", "lifter")
    }
    older = Card(LABELS, 1.0, RATE, features, "ptq")
    assert older.feature_params() == card().feature_params()
    strange = Card(LABELS, 1.0, RATE, features | {"kind": "wavelets"}, "ptq")
    with pytest.raises(ModelError, match=r"features.kind: .*: convert the model again"):
        strange.feature_params()
    for inconsistent, said in (
        ({**features, "fmin": 4000.0, "fmax": 300.0}, "fmin"),
        ({**features, "n_mels": "many"}, "features.n_mels: "),
        (None, "features is None, expected a mapping"),
        (["mfcc"], r"features is \['mfcc'\], expected a mapping"),
    ):
        with pytest.raises(ModelError, match=rf"{said}.*: convert the model again"):
            Card(LABELS, 1.0, RATE, inconsistent, "ptq").feature_params()


@needs_cc
def test_the_model_and_its_labels_arrive_whole(bundle: Path) -> None:
    library = compiled(bundle, ("sernet_model.c",))
    model = (ctypes.c_uint8 * len(ptq())).in_dll(library, "sernet_model")
    assert bytes(model) == ptq()
    assert ctypes.addressof(model) % 16 == 0
    labels = (ctypes.c_char_p * CLASSES).in_dll(library, "sernet_labels")
    assert [label.decode() for label in labels] == LABELS


def test_golden_outputs_are_the_reference_kernels_too() -> None:
    for name, audio in CLIPS.items():
        golden = files.golden(name, audio, ptq(), card(), arena_bytes())
        expected = Int8Model(ptq()).run(golden.features[np.newaxis, ..., np.newaxis])[0]
        np.testing.assert_array_equal(golden.output, expected)
    with pytest.raises(MemoryError):
        files.golden("exact", CLIPS["exact"], ptq(), card(), arena_bytes() - 16)


def test_the_same_model_gives_the_same_files(bundle: Path, tmp_path: Path) -> None:
    files.write(tmp_path, ptq(), card(), budgeted(), CLIPS, streamed(), LEAST_LEVEL)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert {"README.md", "sernet_model.c", "sernet_stream_plan.c"} <= set(names)
    for name in names:
        assert (tmp_path / name).read_bytes() == (bundle / name).read_bytes()


def test_without_parts_there_is_nothing_about_streaming(tmp_path: Path) -> None:
    files.write(tmp_path, ptq(), card(), budgeted(), {"exact": CLIPS["exact"]})
    assert not list(tmp_path.glob("sernet_stream*"))
    assert "SERNET_STREAM" not in (tmp_path / "README.md").read_text("utf-8")


def test_floats_are_read_back_exactly() -> None:
    rng = np.random.default_rng(0)
    values = [*rng.normal(0, 1e3, 1000), *np.exp(rng.normal(0, 20, 1000)), 0.0, -10.0, 1e-6, 1e20]
    for value in np.float32(values):
        literal = c_code.float_literal(value)
        assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?f", literal)
        assert "." in literal or "e" in literal  # 10f is no C
        assert np.float32(literal[:-1]) == value


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "spectrogram"}, "features.kind is spectrogram"),
        ({"n_fft": 1000}, "features.n_fft is 1000"),
        ({"hop_length": 1025}, "features.hop_length is 1025"),
        ({"n_fft": 128, "hop_length": 64}, "features.n_mels is 128"),
    ],
)
def test_features_that_the_device_lacks_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        constants.make(RATE, card(**changes).feature_params())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as `evaluate` leaves it, in which the stage runs."""
    for file in (paths.MODEL, paths.DEVICE / "model.tflite", paths.EVALUATION):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(ptq())
    write_card(card(), tmp_path / paths.MODEL)
    shutil.copyfile(ROOT / paths.VALIDATION, tmp_path / paths.VALIDATION)
    (tmp_path / paths.EVALUATION).write_text(json.dumps(evaluation()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stage_writes_the_bundle_of_what_was_evaluated(project: Path) -> None:
    export.main()
    assert f"({arena_bytes()}u + SERNET_SCRATCH_BYTES)" in (
        project / paths.BUNDLE / "sernet_config.h"
    ).read_text("utf-8")


@pytest.mark.parametrize(
    ("check", "level"),
    [
        ({}, "32.768f"),  # -60 dB of 32,768
        ({"expected": {"min_value": -40.0}}, "327.68f"),
        ({"level": "warning"}, "0.0f"),  # training had such clips
    ],
)
def test_what_is_silence_to_validate_is_silence_on_the_device(
    project: Path, check: dict[str, Any], level: str
) -> None:
    content = json.loads((project / paths.VALIDATION).read_text("utf-8"))
    next(each for each in content["checks"] if each["check"] == "silent").update(check)
    (project / paths.VALIDATION).write_text(json.dumps(content))
    export.main()
    config = (project / paths.BUNDLE / "sernet_config.h").read_text("utf-8")
    assert f"#define SERNET_LEAST_LEVEL {level}\n" in config
    readme = (project / paths.BUNDLE / "README.md").read_text("utf-8")
    assert ("only zeros are silence" in readme) is (level == "0.0f")


@pytest.mark.parametrize("text", ['{"checks": []}', "[]", '{"checks": [{"check": "silent"}]}'])
def test_a_validation_without_the_check_of_silence_is_one_line(project: Path, text: str) -> None:
    (project / paths.VALIDATION).write_text(text)
    with pytest.raises(ModelError, match=r"validation\.json lacks the check .*: run `dvc repro`"):
        export.main()


@pytest.mark.parametrize("file", [paths.MODEL, paths.DEVICE / "model.tflite"])
@pytest.mark.parametrize("length", ["same", "other"])
def test_an_evaluation_of_another_model_is_one_line(project: Path, file: Path, length: str) -> None:
    other = bytearray(ptq())
    other[-1] ^= 1
    (project / file).write_bytes(other if length == "same" else other + bytes(16))
    with pytest.raises(ModelError, match=f"of another model: {file} .* run `dvc checkout` or"):
        export.write(project / "bundle")
    assert not (project / "bundle").exists()


@pytest.mark.parametrize(
    "lacking",
    ["budget", "no_front_end", "sha256", "variants", "convolution scratch", "ESP-NN"],
)
def test_an_evaluation_that_lacks_something_is_one_line(project: Path, lacking: str) -> None:
    content = evaluation(name="esp32-s3")
    if lacking == "convolution scratch":
        need = content["budget"]["need"]
        need["ram"] = [line for line in need["ram"] if "scratch" not in line["name"]]
    elif lacking == "ESP-NN":
        del content["variants"]["streaming"]["scratch"]["ESP-NN"]
    else:
        del content[lacking]
    (project / paths.EVALUATION).write_text(json.dumps(content))
    with pytest.raises(ModelError, match=rf"evaluation\.json lacks .*{lacking}.*: run `dvc repro`"):
        export.main()
    assert not (project / paths.BUNDLE).exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is not JSON, expected what"), ("[]", "lacks what"), ("3", "lacks what")],
)
def test_a_damaged_evaluation_is_one_line(project: Path, text: str, said: str) -> None:
    (project / paths.EVALUATION).write_text(text)
    for run in (export.main, lambda: export.write(project / "bundle")):
        with pytest.raises(SernetError, match=rf"evaluation\.json {said}.*`dvc repro`"):
            run()


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="export the int8 model"):
        files.write(tmp_path, converter.to_float(folded()), card(), budgeted(), {})
    for other in (
        Card(LABELS[1:], 1.0, RATE, card().features, "ptq"),
        Card(LABELS, 2.0, RATE, card().features, "ptq"),
    ):
        with pytest.raises(ModelError, match="do not belong together"):
            files.write(tmp_path, ptq(), other, budgeted(), {})
    with pytest.raises(AudioError, match="expected speech"):
        files.write(tmp_path, ptq(), card(), budgeted(), {"": np.zeros(RATE, np.int16)})
    assert not list(tmp_path.iterdir())


# On Arm


@needs_arm
@pytest.mark.parametrize("core", arm.CORES)
@pytest.mark.parametrize(("written", "features"), [("bundle", {}), ("log_mel", LOG_MEL)])
@pytest.mark.parametrize("cmsis", [False, pytest.param(True, marks=needs_cmsis)])
def test_the_compiled_bytes_are_those_of_the_budget(
    written: str,
    features: dict[str, object],
    core: str,
    cmsis: bool,
    request: pytest.FixtureRequest,
) -> None:
    folder, of = request.getfixturevalue(written), card(**features)
    config = configure(ptq(), of, budgeted(), LEAST_LEVEL)
    stream = schedule.tables(streamed(), memory(streamed()))
    constants = flash(ptq(), of, cmsis)
    if cmsis:
        del constants["fft"]  # CMSIS-DSP's own, which are not in the bundle
    for way in WAYS:
        sizes = arm.sizes(folder, core, (*OPTIONS[way], *(CMSIS_OPTIONS if cmsis else ())))
        counted = sum(ram(config, way, cmsis, stream).values())
        # Variables are aligned to 16 bytes at most.
        assert 0 <= sizes["sernet_memory"].bss - counted < 16
        assert sum(size.bss + size.data for size in sizes.values()) == sizes["sernet_memory"].bss
    found = sizes["sernet_model"].text + sizes["sernet_tables"].text
    assert 0 <= found - sum(constants.values()) < 16
    clips = [files.golden(name, y, ptq(), of, arena_bytes()) for name, y in CLIPS.items()]
    for name, counted in (
        ("sernet_golden", sum(clip.network_bytes for clip in clips)),
        ("sernet_golden_audio", sum(clip.audio_bytes for clip in clips)),
    ):
        assert 0 <= sizes[name].text - counted < 4 * 3 * len(clips)  # arrays, aligned to 4 bytes
        assert f"{counted:,}" in (folder / "README.md").read_text("utf-8")
    assert "arena" not in stream.ram  # the bundle's, with the scratch memory of its kernels
    padding = 16 * len(stream.models)
    assert 0 <= sizes["sernet_stream_plan"].text - sum(stream.flash.values()) < padding


def aligned(size: int) -> int:
    """Bytes that `size` takes of an arena."""
    return (size + 15) // 16 * 16


def arena_in(folder: Path, way: str, *options: str) -> int:
    """Bytes of the arena that a bundle's files make."""
    file = folder / f"{way}.o"
    flags = (*arm.flags("Cortex-M4F"), *OPTIONS[way], *options, "-c", "-o", str(file))
    subprocess.run([arm.COMPILER, *flags, "sernet_memory.c"], cwd=folder, check=True)
    return nm(file, "arm-none-eabi-nm")["sernet_arena"]


def without_scratch(way: str) -> int:
    """Bytes of the arena for the reference kernels."""
    parts = memory(streamed())
    return parts.activations + parts.persistent if way == "stream" else arena_bytes()


@needs_arm
@pytest.mark.parametrize("way", WAYS)
def test_the_arena_has_room_for_the_scratch_memory_of_optimized_kernels(
    bundle: Path, way: str
) -> None:
    graphs = stream_graphs() if way == "stream" else [graph.read(ptq())]
    asked = aligned(scratch.largest(graphs)[CMSIS_NN])
    assert asked > 0
    measured = without_scratch(way)
    assert arena_in(bundle, way) == measured + asked
    assert arena_in(bundle, way, "-DSERNET_SCRATCH_BYTES=0u") == measured
    assert arena_in(bundle, way, "-DSERNET_SCRATCH_BYTES=4608u") == measured + 4608


def with_scratch(name: str) -> dict[str, Any]:
    """What `evaluate` writes, with other scratch memory for each of kernels, whole network and stream."""
    content = evaluation(name=name)
    (line,) = (
        line for line in content["budget"]["need"]["ram"]
        if line["name"].startswith(budget.SCRATCH)
    )  # fmt: skip
    line["bytes"] = {CMSIS_NN: 1001, ESP_NN: 3001}[line["name"].removeprefix(budget.SCRATCH)]
    content["variants"]["streaming"]["scratch"] = {CMSIS_NN: 2001, ESP_NN: 4001}
    return content


@needs_arm
@pytest.mark.parametrize(
    ("name", "kernels", "others", "asked", "of_parts"),
    [
        ("stm32h743", CMSIS_NN, ESP_NN, 1008, 2016),
        ("esp32-s3", ESP_NN, CMSIS_NN, 3008, 4016),
    ],
)
def test_scratch_memory_is_that_of_the_boards_kernels_and_of_the_graphs_that_run(
    tmp_path: Path, name: str, kernels: str, others: str, asked: int, of_parts: int
) -> None:
    of = Budgeted.of(with_scratch(name))
    files.write(tmp_path / "b", ptq(), card(), of, {"exact": CLIPS["exact"]}, streamed())
    config = configure(ptq(), card(), of, LEAST_LEVEL)
    stream = schedule.tables(streamed(), memory(streamed()))
    readme = (tmp_path / "b" / "README.md").read_text("utf-8")
    for way in WAYS:
        expected = of_parts if way == "stream" else asked
        used = ram(config, way, stream=stream)
        assert used["scratch"] == expected
        assert used["arena"] + used["scratch"] == arena_in(tmp_path / "b", way)
        assert arena_in(tmp_path / "b", way) == without_scratch(way) + expected
    assert re.findall(r"\| scratch \| ([\d,]+) \|", readme) == [
        f"{asked:,}", f"{asked:,}", f"{of_parts:,}",
    ]  # fmt: skip
    assert "reckoned by their makers' formula" in readme
    for text in (readme, (tmp_path / "b" / "sernet_config.h").read_text("utf-8")):
        assert f"is budgeted with, {kernels}, take" in text.replace("\n * ", " ").replace("\n", " ")
        assert others not in text


@needs_arm
def test_without_a_stream_scratch_memory_is_that_of_the_whole_network(tmp_path: Path) -> None:
    content = with_scratch("stm32h743")
    content["variants"]["streaming"] = {"refused": "odd height"}
    of = Budgeted.of(content)
    assert (of.streams, of.stream_scratch_bytes) == (False, 0)
    files.write(tmp_path / "b", ptq(), card(), of, {"exact": CLIPS["exact"]})
    assert arena_in(tmp_path / "b", "deferred") == without_scratch("deferred") + 1008
    assert "SERNET_STREAM" not in (tmp_path / "b" / "sernet_config.h").read_text("utf-8")


@needs_arm
@needs_cmsis
def test_cmsis_dsps_own_tables_take_the_bytes_of_the_budget(tmp_path: Path) -> None:
    file = tmp_path / "tables.o"
    include = f"-I{CMSIS}/PrivateInclude"
    flags = (*arm.flags("Cortex-M4F"), *CMSIS_OPTIONS, include, "-w", "-c", "-o", str(file))
    source = f"{CMSIS}/Source/CommonTables/arm_common_tables.c"
    subprocess.run([arm.COMPILER, *flags, source], check=True)
    sizes = nm(file, "arm-none-eabi-nm")
    used = ("twiddleCoef_512", "twiddleCoef_rfft_1024", "armBitRevIndexTable512")
    assert sum(sizes[name] for name in used) == flash(ptq(), card(), cmsis=True)["fft"]


ARRAYS = {
    "sernet_model": {"sernet_model"},
    "sernet_tables": {
        "sernet_window", "sernet_filter_positions", "sernet_filter_lengths", "sernet_filters",
        "sernet_basis", "sernet_cosine",
    },
    "sernet_stream_plan": {f"model_{n}" for n in range(3)},
    "sernet_golden": {"input_0", "output_0"},
    "sernet_golden_audio": {"audio_0", "features_0", "deferred_0"},
}  # fmt: skip
BUFFERS = {
    "whole": {"sernet_arena", "sernet_audio"},
    "deferred": {"sernet_arena", "sernet_late"},
    "stream": {"sernet_arena", "sernet_network"},
}


@needs_arm
def test_arrays_lie_in_the_sections_that_are_named(bundle: Path, tmp_path: Path) -> None:
    def sections(source: str, *options: str) -> dict[str, str]:
        file = tmp_path / "it.o"
        flags = (*arm.flags("Cortex-M7"), *arm.WARNINGS, "-fdata-sections", *options)
        subprocess.run(
            [arm.COMPILER, *flags, "-c", f"{source}.c", "-o", str(file)], cwd=bundle, check=True
        )
        listed = subprocess.run(
            ["arm-none-eabi-objdump", "--syms", str(file)], check=True, capture_output=True, text=True
        ).stdout.splitlines()  # fmt: skip
        objects = (line.split() for line in listed if " O " in line)
        return {words[-1]: words[-3] for words in objects}

    constants = '-DSERNET_CONST=__attribute__((section(".progmem")))'
    variables = '-DSERNET_RAM=__attribute__((section(".dmabuffers")))'
    small_ones: set[str] = set()
    for source, names in ARRAYS.items():
        placed, plain = sections(source, constants, variables), sections(source)
        assert {placed[name] for name in names} == {".progmem"}
        assert all(plain[name].startswith(".rodata") for name in names)
        # What the README does not promise of the small ones: labels, and tables of pointers and sizes.
        small = {name for name, section in placed.items() if section != ".progmem"}
        bytes_of = nm(tmp_path / "it.o", "arm-none-eabi-nm")
        assert sum(bytes_of[name] for name in small) < 1024
        small_ones |= small
    assert {"sernet_labels", "sernet_golden", "sernet_stream_models"} <= small_ones
    assert "before each large constant array" in (bundle / "README.md").read_text("utf-8")
    for way, names in BUFFERS.items():
        placed = sections("sernet_memory", constants, variables, *OPTIONS[way])
        assert {name for name, section in placed.items() if section == ".dmabuffers"} == names
        plain = sections("sernet_memory", *OPTIONS[way])
        assert all(section.startswith(".bss") for section in plain.values())


@needs_arm
def test_a_warning_is_an_error(bundle: Path, tmp_path: Path) -> None:
    copy = edited(bundle, tmp_path / "b", "sernet_level.c", "(uint16_t)(x < 0", "(x < 0")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        arm.sizes(copy, "Cortex-M4F")
    assert "-Werror=conversion" in failed.value.stderr


@needs_arm
@pytest.mark.parametrize("written", ["bundle", "log_mel"])
def test_nothing_is_allocated_and_little_is_called(
    written: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(written)
    # To level a band of log-mel, the logarithm is undone.
    exponential = "|expf" if written == "log_mel" else ""
    known = re.compile(rf"sernet_\w+|mem(cpy|move|set)|logf{exponential}|sqrtf|__aeabi_l?u?ldivmod")
    for source in (*FRONT_END, "sernet_stream.c"):
        file = tmp_path / "it.o"
        flags = (*arm.flags("Cortex-M4F"), "-Os", "-c", source, "-o", str(file))
        subprocess.run([arm.COMPILER, *flags], cwd=folder, check=True)
        listed = subprocess.run(
            ["arm-none-eabi-nm", "--undefined-only", "--format=just-symbols", str(file)],
            check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        assert [name for name in listed if not known.fullmatch(name)] == []
        assert listed or source == "sernet_tables.c"


# TFLite Micro's C++, as far as there are stand-ins for it here


# Names as in TFLite Micro's own micro_mutable_op_resolver.h.
METHODS = (
    "AddAveragePool2D", "AddBatchMatMul", "AddConcatenation", "AddConv2D", "AddCumSum",
    "AddDepthwiseConv2D", "AddFullyConnected", "AddMean", "AddPad", "AddPadV2", "AddReshape",
    "AddSlice", "AddSoftmax", "AddSplitV", "AddStridedSlice",
)  # fmt: skip
DECLARATIONS = {
    "micro/micro_mutable_op_resolver.h": """
        #pragma once
        enum TfLiteStatus { kTfLiteOk, kTfLiteError };
        namespace tflite {
        template <unsigned int n> struct MicroMutableOpResolver {
          static constexpr unsigned int capacity = n; unsigned int count = 0;
          TfLiteStatus add() { return count++ < n ? kTfLiteOk : kTfLiteError; }
          METHODS
        };
        }""",
    "micro/micro_allocator.h": """
        #pragma once
        #include <cstddef>
        #include <cstdint>
        namespace tflite { struct MicroAllocator {
          static MicroAllocator* Create(uint8_t*, size_t) { static MicroAllocator it; return &it; }
        }; }""",
    "schema/schema_generated.h": """
        #pragma once
        namespace tflite { struct Model;
          inline const Model* GetModel(const void* it) { return static_cast<const Model*>(it); } }""",
    "micro/micro_interpreter.h": """
        #pragma once
        #include "tensorflow/lite/micro/micro_allocator.h"
        #include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
        #include "tensorflow/lite/schema/schema_generated.h"
        struct TfLiteTensor { union { int8_t* int8; } data; };
        namespace tflite { struct MicroInterpreter {
          template <unsigned int n> MicroInterpreter(
              const Model*, const MicroMutableOpResolver<n>&, uint8_t*, size_t) { ++made; }
          template <unsigned int n> MicroInterpreter(
              const Model*, const MicroMutableOpResolver<n>&, MicroAllocator*) { ++made; }
          TfLiteStatus AllocateTensors() { return kTfLiteOk; }
          TfLiteStatus Invoke() {
            if (this == broken) return kTfLiteError;
            if (run) run(in[0], out);
            return kTfLiteOk;
          }
          TfLiteTensor* input(size_t n) { tensor.data.int8 = in[n]; return &tensor; }
          TfLiteTensor* output(size_t) { tensor.data.int8 = out; return &tensor; }
          static inline unsigned made = 0;
          static inline const MicroInterpreter* broken = nullptr;
          static inline void (*run)(const int8_t* input, int8_t* output) = nullptr;
          static inline int8_t in[4][1 << 16], out[1 << 16];
          TfLiteTensor tensor;
        }; }""",
}


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to include stand-ins for TFLite Micro's classes from."""
    folder = tmp_path_factory.mktemp("tflm")
    methods = " ".join(f"TfLiteStatus {name}() {{ return add(); }}" for name in METHODS)
    for name, text in DECLARATIONS.items():
        file = folder / "tensorflow" / "lite" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("METHODS", methods))
    return folder


def compile_cxx(bundle: Path, declared: Path, source: str, *options: str) -> None:
    subprocess.run(
        ["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{bundle}", f"-I{declared}",
         *options, "-x", "c++", "-"],
        input=source, text=True, check=True, cwd=bundle,
    )  # fmt: skip


@needs_cxx
def test_the_resolver_has_room_for_its_operators_and_no_more(
    bundle: Path, declared: Path, tmp_path: Path
) -> None:
    program = """#include "sernet_ops.h"
        int main() { SernetOps ops;
          return !(SernetAddOps(ops) == kTfLiteOk && ops.count == SernetOps::capacity); }"""
    compile_cxx(bundle, declared, program, "-o", str(tmp_path / "count"))
    assert subprocess.run([tmp_path / "count"]).returncode == 0
    assert set(files.add_methods([ptq()])) == {
        "AddAveragePool2D", "AddConcatenation", "AddConv2D", "AddMean", "AddReshape", "AddSoftmax",
    }  # fmt: skip


def test_operators_are_called_as_tflite_micro_calls_them() -> None:
    names = (
        "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "CUMSUM",
        "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN", "PAD", "PADV2", "RESHAPE", "SLICE",
        "SOFTMAX", "SPLIT_V", "STRIDED_SLICE",
    )  # fmt: skip
    assert tuple(map(files.add_method, names)) == METHODS


def programs(bundle: Path) -> list[str]:
    """The README's C++: to classify a clip, what comes below it to check the network, the stream."""
    return re.findall(r"```cpp\n(.*?)```", (bundle / "README.md").read_text("utf-8"), re.DOTALL)


def linked(
    bundle: Path,
    declared: Path,
    folder: Path,
    program: str,
    sources: tuple[str, ...],
    *options: str,
) -> subprocess.CompletedProcess[str]:
    """What a program prints that is linked with files of the bundle."""
    objects = []
    for source in sources:
        objects.append(str(folder / f"{source}.o"))
        subprocess.run(
            ["cc", *STRICT, *options, "-c", source, "-o", objects[-1]], cwd=bundle, check=True
        )
    file = str(folder / "program")
    compile_cxx(bundle, declared, program, *options, *objects, "-lm", "-o", file)
    return subprocess.run([file], capture_output=True, text=True)


@needs_cxx
def test_the_readmes_programs_compile(bundle: Path, declared: Path) -> None:
    batch, check, streaming = programs(bundle)
    for source, options in (
        (batch, ()), (batch, (KEEP_AUDIO,)), (batch + check, ()), (streaming, (STREAM,)),
    ):  # fmt: skip
        compile_cxx(bundle, declared, source, "-fsyntax-only", *options)
    with pytest.raises(subprocess.CalledProcessError):
        compile_cxx(bundle, declared, batch, "-fsyntax-only", STREAM)  # no sernet_late there
    with pytest.raises(subprocess.CalledProcessError):
        compile_cxx(bundle, declared, streaming, "-fsyntax-only")


# A microphone that hears a tone, or nothing.
MICROPHONE = """
#include <cstdio>
static bool quiet = false;
void microphone_read(int16_t* samples, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) samples[i] = quiet ? 0 : static_cast<int16_t>(i % 64 * 100);
}
"""


@needs_cc
@needs_cxx
@pytest.mark.parametrize("options", [(), (KEEP_AUDIO,)])
def test_the_readmes_program_classifies_clip_after_clip(
    bundle: Path, declared: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    program = programs(bundle)[0] + MICROPHONE + """
        int main() {
          for (int clip = 0; clip < 2; ++clip) std::printf("%d ", classify());
          quiet = true;
          std::printf("%d %u", classify(), tflite::MicroInterpreter::made);
        }"""  # fmt: skip
    sources = (*FRONT_END, "sernet_memory.c", "sernet_model.c")
    assert linked(bundle, declared, tmp_path, program, sources, *options).stdout == "0 0 -1 1"


STREAMING = """
    static unsigned shown = 0;
    void show(const int8_t*) { ++shown; }
    int main() {
      for (int clip = 0; clip < 2; ++clip, shown = 0) {
        std::printf("%d ", listen());
        std::printf("%d, ", shown > 0);
      }
      quiet = true;
      std::printf("%d, %u of %u", listen(), tflite::MicroInterpreter::made, kModels);
    }"""


@needs_cc
@needs_cxx
def test_the_readmes_stream_hears_clip_after_clip_and_says_which_was_silent(
    bundle: Path, declared: Path, tmp_path: Path
) -> None:
    streaming = programs(bundle)[2]
    sources = (*FRONT_END, "sernet_memory.c", "sernet_stream.c", "sernet_stream_plan.c")
    run = linked(bundle, declared, tmp_path, streaming + MICROPHONE + STREAMING, sources, STREAM)
    parts = len(streamed().parts) + 1
    assert run.stdout == f"0 1, 0 1, -1, {parts} of {parts}"
    again = streaming.replace("static const sernet_status ready", "const sernet_status ready")
    assert again != streaming
    run = linked(bundle, declared, tmp_path, again + MICROPHONE + STREAMING, sources, STREAM)
    assert run.stdout.startswith("0 1, -3 0, -3")  # an operator is not added twice


FAILING = """
    static unsigned shown = 0;
    void show(const int8_t*) { ++shown; }
    int main() {
      listen();
      for (uint32_t part = 0; part < kModels; ++part) {
        Interpreter::broken = part_of(part);
        shown = 0;
        std::printf("%d ", listen());
        std::printf("%d, ", shown > 0);
      }
      Interpreter::broken = nullptr;
      std::printf("%d ", listen());
      std::printf("%d", shown > 0);
    }"""


@needs_cc
@needs_cxx
def test_the_readmes_stream_says_that_a_part_or_the_head_failed(
    bundle: Path, declared: Path, tmp_path: Path
) -> None:
    streaming = programs(bundle)[2]
    sources = (*FRONT_END, "sernet_memory.c", "sernet_stream.c", "sernet_stream_plan.c")
    run = linked(bundle, declared, tmp_path, streaming + MICROPHONE + FAILING, sources, STREAM)
    parts = len(streamed().parts)
    assert run.stdout == "-3 0, " * (parts + 1) + "0 1"
    deaf = streaming.replace("else if (result != SERNET_TOO_EARLY) return result;", "")
    assert deaf != streaming
    run = linked(bundle, declared, tmp_path, deaf + MICROPHONE + FAILING, sources, STREAM)
    assert run.stdout == "-3 0, " * parts + "0 0, 0 1"


@needs_cc
@needs_cxx
def test_the_readmes_check_of_the_network_counts_the_clips_that_differ(
    bundle: Path, declared: Path, tmp_path: Path
) -> None:
    batch, check, _ = programs(bundle)
    program = batch + check + MICROPHONE + """
        static int wrong = 0;
        static void network_of(const int8_t* input, int8_t* output) {
          for (const sernet_golden_clip& clip : sernet_golden)
            if (std::memcmp(input, clip.input, SERNET_FRAMES * SERNET_BINS) == 0) {
              std::memcpy(output, clip.output, SERNET_CLASSES);
              if (wrong && &clip == &sernet_golden[1]) ++output[SERNET_CLASSES - 1];
            }
        }
        int main() {
          tflite::MicroInterpreter::run = network_of;
          std::printf("%u ", golden_failures());
          wrong = 1;
          std::printf("%u", golden_failures());
        }"""  # fmt: skip
    sources = (*FRONT_END, "sernet_memory.c", "sernet_model.c", "sernet_golden.c")
    run = linked(bundle, declared, tmp_path, program, sources)
    assert run.stdout == "0 1"


@needs_cc
@needs_cxx
def test_the_readmes_check_of_the_network_links_without_the_audio(
    bundle: Path, declared: Path, tmp_path: Path
) -> None:
    """The linker drops what the front end's test alone needs."""
    batch, check, _ = programs(bundle)
    program = batch + check + MICROPHONE
    sources = (
        *FRONT_END, "sernet_memory.c", "sernet_model.c", "sernet_golden.c", "sernet_golden_audio.c",
    )  # fmt: skip
    sections = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")
    large = re.compile(r"(audio|features|deferred)_\d")

    def arrays(main: str) -> tuple[set[str], set[str]]:
        linked(bundle, declared, tmp_path, program + main, sources, *sections)
        names = set(nm(tmp_path / "program"))
        return {n for n in names if large.fullmatch(n)}, {
            n for n in names if n.startswith("input_")
        }

    inputs = {f"input_{n}" for n in range(len(CLIPS))}
    assert arrays("int main() { return (int)golden_failures(); }") == (set(), inputs)
    both = "int main() { return (int)golden_failures() + sernet_golden_audio[1].audio[0]; }"
    assert len(arrays(both)[0]) == 3 * len(CLIPS)


def test_the_readme_has_the_figures_of_the_budget(bundle: Path) -> None:
    readme = (bundle / "README.md").read_text("utf-8")
    config = configure(ptq(), card(), budgeted(), LEAST_LEVEL)
    stream = schedule.tables(streamed(), memory(streamed()))
    totals = [
        [sum(ram(config, way, cmsis, stream).values()) for cmsis in (False, True)] for way in WAYS
    ]
    totals.append([sum(flash(ptq(), card(), cmsis).values()) for cmsis in (False, True)])
    for portable, cmsis in totals:
        assert f"| **together** | {portable:,} | {cmsis:,} |" in readme


def on_the_board(readme: str) -> list[list[str]]:
    """For each way to run it, what the README says of the board's RAM: portable, with CMSIS-DSP."""
    found = re.findall(r"^\| \| on STM32H743 \| (.*) \| (.*) \|$", readme, re.MULTILINE)
    return [list(row) for row in found]


def test_the_readme_says_for_which_board_and_which_ways_stay_within_its_limit(
    bundle: Path, tmp_path: Path
) -> None:
    p = Evaluate.model_validate(toy_content()["evaluate"])
    config = configure(ptq(), card(), budgeted(), LEAST_LEVEL)
    stream = schedule.tables(streamed(), memory(streamed()))
    needed = [
        [sum(ram(config, way, cmsis, stream).values()) + p.runtime_ram_bytes + p.stack_bytes
         for cmsis in (False, True)]
        for way in WAYS
    ]  # fmt: skip
    readme = (bundle / "README.md").read_text("utf-8")
    assert "Budgeted for STM32H743, with 524,288 bytes of RAM in one piece" in readme
    assert "**it fits**" in readme
    assert "has no room" not in readme
    assert budgeted().ram_bytes == needed[1][1]  # the level is deferred, the front end CMSIS-DSP's
    assert on_the_board(readme) == [[f"{524_288 - n:,} left" for n in row] for row in needed]

    # A board that holds all but the clip's audio, and but for a byte CMSIS-DSP's memory.
    limit = needed[1][1] - 1
    assert needed[1][0] < limit < needed[0][0]
    small = Budgeted.of(evaluation(ram=limit))
    files.write(tmp_path / "b", ptq(), card(), small, {"exact": CLIPS["exact"]}, streamed())
    readme = (tmp_path / "b" / "README.md").read_text("utf-8")
    assert "**it does not fit: " in readme
    assert "STM32H743 has no room for that" in readme
    whole, deferred, _ = on_the_board(readme)
    assert whole == [f"**{n - limit:,} too many**" for n in needed[0]]
    assert deferred == [f"{limit - needed[1][0]:,} left", "**1 too many**"]


@pytest.mark.parametrize(
    ("name", "of_board", "system"),
    [("stm32h743", {}, 0), ("nano33ble", {}, 44_552), ("nano33ble", {"system_ram": 0}, 0)],
)
def test_the_readme_says_what_the_boards_system_takes(
    tmp_path: Path, name: str, of_board: dict[str, Any], system: int
) -> None:
    p = Evaluate.model_validate(toy_content()["evaluate"])
    of = Budgeted.of(evaluation(name=name, **of_board))
    assert of.allowed_bytes == p.runtime_ram_bytes + p.stack_bytes
    assert of.system_bytes == system
    used = sum(ram(configure(ptq(), card(), of, LEAST_LEVEL), "deferred", cmsis=True).values())
    # What is said of a way to run it is what the budget says of it.
    assert of.left(used) == of.ram_limit_bytes - of.ram_bytes
    assert of.left(used) == boards.get(name).ram - used - of.allowed_bytes - system
    files.write(tmp_path / "b", ptq(), card(), of, {"exact": CLIPS["exact"]})
    readme = " ".join((tmp_path / "b" / "README.md").read_text("utf-8").split())
    if system:
        assert "allows for code, runtime, stack and the board's system: **it" in readme
    else:
        assert "allows for code, runtime and stack: **it" in readme
    beside = f", and {system:,} for the board's system," if system else ","
    assert (
        f"{of.allowed_bytes:,} are taken off for the stack and TFLite Micro's objects outside the arena"
        f"{beside} as the budget allows for them;"
    ) in readme
    assert ("the board's system" in readme) is (system > 0)


WHOLE = "with CMSIS-DSP and its audio kept (`-DSERNET_KEEP_AUDIO` below)\n"
DEFERRED = "with CMSIS-DSP and frames levelled at the end (neither option below)\n"


@pytest.mark.parametrize(
    ("level", "features", "said"),
    [
        ("whole", {}, WHOLE),
        ("deferred", {}, DEFERRED),
        ("running", {}, DEFERRED),  # the bundle's program for the whole network
        ("whole", {"level": "none"}, "with CMSIS-DSP\n"),
    ],
)
def test_the_readme_says_how_the_budgets_clip_is_levelled(
    tmp_path: Path, level: str, features: dict[str, object], said: str
) -> None:
    of = Budgeted.of(evaluation(level))
    files.write(tmp_path / "b", ptq(), card(**features), of, {"exact": CLIPS["exact"]})
    assert said in (tmp_path / "b" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("level", get_args(Evaluate.model_fields["level"].annotation))
def test_the_budgets_bytes_are_those_of_the_program_that_is_said(level: str) -> None:
    of = Budgeted.of(evaluation(level))
    p = Evaluate.model_validate(toy_content()["evaluate"] | {"level": level})
    around = Surroundings(p, card().feature_params(), 1.0, RATE)
    assert of.level == around.mode(streams=False)
    config = configure(ptq(), card(), of, LEAST_LEVEL)
    counted = {
        way: sum(ram(config, way, cmsis=True).values()) + of.allowed_bytes + of.system_bytes
        for way in WAYS
        if way != "stream"
    }
    assert counted.pop(of.level) == of.ram_bytes
    assert of.ram_bytes not in counted.values()


def test_the_stage_says_whether_the_bundle_fits_its_board(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export.main()
    said = "plain, level deferred, on STM32H743 with 524,288 bytes of RAM and 2,097,152 of flash: "
    assert capsys.readouterr().out == f"export: models/bundle: {said}fits\n"
    content = evaluation(level="whole", ram=budgeted().ram_bytes, flash=budgeted().flash_bytes - 7)
    (project / paths.EVALUATION).write_text(json.dumps(content))
    export.main()
    audio = Budgeted.of(content).ram_bytes - budgeted().ram_bytes
    assert capsys.readouterr().out.endswith(
        f": does not fit: {audio:,} bytes of RAM and 7 bytes of flash too many\n"
    )
    assert "level whole" in export.write(project / "bundle")


@pytest.mark.parametrize(
    ("level", "features", "said"),
    [
        ("running", {}, "plain, level deferred, on STM32H743 with "),
        ("whole", {"level": "none"}, "plain on STM32H743 with "),  # nothing waits for a level
    ],
)
def test_the_stage_says_what_the_program_does_and_not_the_parameter(
    project: Path, level: str, features: dict[str, object], said: str
) -> None:
    write_card(card(**features), project / paths.MODEL)
    (project / paths.EVALUATION).write_text(json.dumps(evaluation(level)))
    assert export.write(project / "bundle").startswith(said)


# As a stream


class Device:
    """The C driver, with TFLite Micro behind its two callbacks."""

    def __init__(self, folder: Path, *options: str) -> None:
        contents = [*streamed().parts, streamed().head]
        run = [micro(content) for content in contents]
        self.made: list[tuple[int, np.ndarray]] = []  # by part, in the order in which they ran
        inputs: dict[tuple[int, int], np.ndarray] = {}
        shapes: list[list[int]] = [[] for _ in contents]
        for number, part in enumerate(streamed().plan.parts):
            for i in part.inputs:
                shapes[number].append(i.windows * i.rows * streamed().plan.lines[i.line].row_bytes)
        shapes[-1] = [streamed().plan.mean.channels]
        outputs: dict[int, np.ndarray] = {}

        def give(context: int | None, part: int, number: int) -> int:
            inputs[part, number] = np.zeros(shapes[part][number], np.int8)
            return inputs[part, number].ctypes.data

        def invoke(context: int | None, part: int) -> int:
            values = [inputs.pop((part, number)) for number in range(len(shapes[part]))]
            outputs[part] = np.ascontiguousarray(run[part](values)).ravel()
            self.made.append((part, outputs[part]))
            return outputs[part].ctypes.data

        self.library = compiled(folder, ("sernet_stream.c", "sernet_stream_plan.c"), *options)
        void, u32 = ctypes.c_void_p, ctypes.c_uint32
        self._callbacks = (
            ctypes.CFUNCTYPE(void, void, u32, u32)(give),
            ctypes.CFUNCTYPE(void, void, u32)(invoke),
        )
        self._runtime = (void * 3)(*(ctypes.cast(c, void).value for c in self._callbacks), None)
        self._state = state()
        self.library.sernet_stream_start(self._state, self._runtime)

    def frame(self, row: np.ndarray) -> int:
        return self.library.sernet_stream_frame(self._state, pointer(np.ascontiguousarray(row)))

    def result(self) -> tuple[int, np.ndarray]:
        output = np.zeros(CLASSES, np.int8)
        return self.library.sernet_stream_result(self._state, pointer(output)), output


def whole_clip(device: Device, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last output, and the rows that went into the average."""
    for row in x:
        assert device.frame(row) == 0
    last = next(
        n for n, p in enumerate(streamed().plan.parts) if p.output == streamed().plan.mean.line
    )
    rows = np.array([row for part, row in device.made if part == last])
    return device.result()[1], rows


def inputs() -> list[np.ndarray]:
    """Clips and noise, int8 [shape=(59, 40)]."""
    rng = np.random.default_rng(5)
    noise = rng.integers(-128, 128, (2, 59, 40), dtype=np.int8)
    return [*Int8Model(ptq()).quantized(X[:2])[..., 0], *noise]


@needs_cc
def test_the_stream_ends_with_the_plain_models_bits(bundle: Path) -> None:
    plain = Micro(ptq(), 1 << 20, keep_tensors=True)
    tensor = streamed().plan.lines[streamed().plan.mean.line].tensor
    device = Device(bundle)
    for x in inputs():
        device.made.clear()
        device.library.sernet_stream_start(device._state, device._runtime)
        output, rows = whole_clip(device, x)
        np.testing.assert_array_equal(output, plain.run(x[np.newaxis, ..., np.newaxis])[0])
        # A softmax hides differences before it.
        np.testing.assert_array_equal(rows, plain.tensor(tensor)[0].reshape(rows.shape))
        assert np.unique(rows).size > 10


@needs_cc
def test_the_work_of_each_hop_is_what_the_driver_does(bundle: Path) -> None:
    device, plan = Device(bundle), streamed().plan
    head = streamed().macs - plan.macs
    work = []
    for row in inputs()[2]:
        device.made.clear()
        assert device.frame(row) == 0
        work.append(head + sum(plan.parts[part].macs for part, _ in device.made))
    stream = schedule.tables(streamed(), memory(streamed()))
    assert stream.hop_macs == work
    assert len(set(work)) > 2
    # In hops of the average's time: what came in from hop `first` to `now`, less what was done since.
    mean = np.mean(work)
    behind = max(
        sum(work[first : now + 1]) / mean - (now - first)
        for now in range(len(work))
        for first in range(now + 1)
    )
    assert stream.backlog(256) == np.ceil(256 * behind)
    even = replace(stream, hop_macs=[7] * 59)
    assert even.backlog(256) == 256  # while a hop is computed, the next arrives
    header = (bundle / "sernet_stream_plan.h").read_text("utf-8")
    assert f"SERNET_STREAM_HOP_MACS {max(work)}u" in header
    assert f"SERNET_STREAM_BACKLOG {stream.backlog(256)}u" in header
    readme = (bundle / "README.md").read_text("utf-8")
    assert f"the dearest {max(work):,}" in readme
    assert f"{round(sum(work) / (59 * 256 / RATE)):,} a second" in readme


def test_the_tables_of_a_stream_read_its_head_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured, read, seen = memory(streamed()), graph.read, []

    def counted(content: bytes) -> graph.Graph:
        seen.append(content)
        return read(content)

    monkeypatch.setattr(graph, "read", counted)
    assert len(schedule.tables(streamed(), measured).hop_macs) == 59
    assert seen == [streamed().head]


@needs_cc
def test_each_result_on_the_way_is_that_of_the_schedule(bundle: Path) -> None:
    device, python = Device(bundle), StreamingInterpreter(streamed())
    answered = 0
    for row in inputs()[2]:
        assert device.frame(row) == 0
        python.push(row[np.newaxis])
        (status, output), expected = device.result(), python.result()
        assert (status == 1) == (expected is None)  # too early
        if expected is not None:
            np.testing.assert_array_equal(output, expected)
            answered += 1
    assert 0 < answered < 59
    assert device.frame(inputs()[2][0]) == -3  # the clip has all its frames


@needs_cc
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("memset(out, line->zero_point", "memset(out, 0"),
        ("(uint32_t)row % line->rows", "(uint32_t)(row + 1) % line->rows"),
        ("? low + r * (high - low) / in->rows :", "? low + 0 * (high - low) :"),
    ],
)
def test_the_comparison_notices_a_wrong_row(
    bundle: Path, tmp_path: Path, old: str, new: str
) -> None:
    copy = edited(bundle, tmp_path / "b", "sernet_stream.c", old, new)
    plain = Micro(ptq(), 1 << 20, keep_tensors=True)
    x = inputs()[0]
    _, rows = whole_clip(Device(copy), x)
    plain.run(x[np.newaxis, ..., np.newaxis])
    tensor = streamed().plan.lines[streamed().plan.mean.line].tensor
    assert (rows != plain.tensor(tensor)[0].reshape(rows.shape)).any()
