"""The front end as on the device against the one that training uses, tf.signal and hand-made cases."""

from pathlib import Path

import cmsisdsp
import librosa
import numpy as np
import pytest
from cmsisdsp import datatype
from cmsisdsp import mfcc as cmsis_mfcc
from conftest import CORPORA
from scipy.io import wavfile
from test_features import reference

from pipeline.audio import spectra
from pipeline.audio.cut import cut
from pipeline.audio.front_end import features
from pipeline.errors import AudioError, ParamsError
from pipeline.mcu import cmsis, front_end
from pipeline.mcu.front_end import CHAINS, DeviceFrontEnd, StreamingFrontEnd, to_int16
from pipeline.mcu.level import Level
from pipeline.params import Features, Params
from pipeline.tflite.int8 import quantize

SR = 16000
SCALE, ZERO_POINT = 0.08, 3
# float32 sums in another order, amplified by the logarithm where a band is faint.
F32_TOLERANCE = 5e-4


@pytest.fixture
def p(toy: Params) -> Features:
    return toy.features


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Syllables of a voice with pauses and a few clicks, int16: the dynamics of speech."""
    rng = np.random.default_rng(seed)
    n = round(seconds * SR)
    t = np.arange(n) / SR
    pulses = np.zeros(n)
    pulses[np.cumsum(rng.integers(110, 150, n // 100)).clip(max=n - 1)] = 1
    ring = np.exp(-np.arange(400) / 60) * np.sin(2 * np.pi * 700 / SR * np.arange(400))
    voiced = np.convolve(pulses, ring)[:n] * np.sin(2 * np.pi * 1.7 * t) ** 2
    y = 6000 * voiced + 8 * rng.standard_normal(n)
    y[rng.integers(0, n, 6)] += 9000
    return np.clip(np.rint(y), -32768, 32767).astype(np.int16)


@pytest.fixture(params=["synthetic", "real"])
def x(request: pytest.FixtureRequest) -> np.ndarray:
    """About two seconds, int16."""
    if request.param == "synthetic":
        return speech(2)
    file = CORPORA / "emodb" / "wav" / "03a01Fa.wav"
    if not file.is_file():
        pytest.skip("no real recordings beside the project")
    samples = wavfile.read(file)[1]
    assert samples.dtype == np.int16
    return samples


def trained(x: np.ndarray, p: Features, input_len: float = 2) -> np.ndarray:
    """What training computes of the same samples."""
    return features(x.astype(np.float32) / 32768, input_len, SR, p)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


def test_f32_is_the_training_front_end(x: np.ndarray, p: Features) -> None:
    ours = DeviceFrontEnd("f32", 2, SR, p).features(x)
    theirs = trained(x, p)
    assert ours.shape == theirs.shape == (122, 40)
    assert ours.dtype == np.float32
    assert difference(ours, theirs) < F32_TOLERANCE


def test_f32_is_tf_signals(x: np.ndarray, p: Features) -> None:
    ours = DeviceFrontEnd("f32", 2, SR, p).features(x)
    theirs = reference(cut(x.astype(np.float32), 2 * SR), p)["mfcc"]
    assert np.median(np.abs(ours - theirs)) < 1e-5
    assert difference(ours, theirs) < 2e-2


def test_mel_bands_linear_in_hertz_are_noticed(
    x: np.ndarray, p: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = trained(x, p)
    in_hertz = librosa.filters.mel(
        sr=SR, n_fft=p.n_fft, n_mels=p.n_mels, fmin=p.fmin, fmax=p.fmax, htk=True, norm=None
    )
    monkeypatch.setattr(spectra, "mel_filters", lambda *_: in_hertz)
    assert difference(DeviceFrontEnd("f32", 2, SR, p).features(x), theirs) > 4 * F32_TOLERANCE


def test_an_orthonormal_first_row_of_the_dct_is_noticed(
    x: np.ndarray, p: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = cmsis_mfcc.dctMatrix

    def orthonormal(dtype: int, rows: int, columns: int) -> np.ndarray:
        matrix = right(dtype, rows, columns)
        matrix[:columns] /= np.sqrt(2).astype(np.float32)
        return matrix

    monkeypatch.setattr(cmsis_mfcc, "dctMatrix", orthonormal)
    wrong = DeviceFrontEnd("f32", 2, SR, p).features(x)
    assert difference(wrong[:, 0], trained(x, p)[:, 0]) > 1
    assert difference(wrong[:, 1:], trained(x, p)[:, 1:]) < F32_TOLERANCE


def test_q31_follows_closely_and_q15_roughly(x: np.ndarray, p: Features) -> None:
    theirs = trained(x, p)
    q31 = np.abs(DeviceFrontEnd("q31", 2, SR, p).features(x) - theirs)
    assert q31.max() < 1e-2  # 32 bits, but the FFT divides by n_fft
    q15 = np.abs(DeviceFrontEnd("q15", 2, SR, p).features(x) - theirs)
    # Five bits are left of a full-scale tone in a bin, none of a faint band.
    assert np.median(q15) < 0.1
    assert q15.mean() < 0.5
    assert q15.mean() > 100 * q31.mean()


@pytest.mark.parametrize("kind", cmsis.KINDS)
def test_a_quiet_frame_keeps_the_coefficients_of_a_loud_one(kind: cmsis.Kind, p: Features) -> None:
    quiet = np.rint(100 * np.random.default_rng(1).standard_normal(p.n_fft)).astype(np.int16)
    mfcc = cmsis.Frame(kind, SR, p)
    of_quiet, of_loud = mfcc(quiet), mfcc(quiet << 6)
    assert difference(of_quiet[1:], of_loud[1:]) < 2e-3  # 1e-6 in a band, and its logarithm
    assert of_loud[0] - of_quiet[0] == pytest.approx(16 * np.log(64), abs=2e-2)


def cmsis_own(kind: cmsis.Kind, frame: np.ndarray, p: Features) -> np.ndarray:
    """arm_mfcc_q15 or arm_mfcc_q31 of a frame as it is."""
    table, instance = cmsis.tables(kind, SR, p), getattr(cmsisdsp, f"arm_mfcc_instance_{kind}")()
    getattr(cmsisdsp, f"arm_mfcc_init_{kind}")(
        instance, p.n_fft, p.n_mels, p.n_mfcc, table.basis, table.positions, table.lengths,
        table.filters, table.window,
    )  # fmt: skip
    run = getattr(cmsisdsp, f"arm_mfcc_{kind}")
    _, coefficients = run(instance, frame, np.zeros(2 * p.n_fft, np.int32))
    return coefficients / {"q15": 2.0**7, "q31": 2.0**23}[kind]


def test_cmsis_own_q15_loses_a_quiet_frame_that_was_not_shifted_up(p: Features) -> None:
    quiet = np.rint(10 * np.random.default_rng(1).standard_normal(p.n_fft)).astype(np.int16)
    theirs = cmsis.Frame("f32", SR, p)(quiet)
    assert difference(cmsis.Frame("q15", SR, p)(quiet), theirs) < 0.3
    assert difference(cmsis_own("q15", quiet, p), theirs) > 1


def test_cmsis_own_q31_loses_bits_that_ours_keeps(p: Features) -> None:
    # A tone at full scale over noise 60 dB below it.
    noise = np.random.default_rng(1).standard_normal(p.n_fft)
    tone = 28000 * np.sin(2 * np.pi * 300 / SR * np.arange(p.n_fft))
    frame = np.rint(tone + 20 * noise).astype(np.int16)
    theirs = cmsis.Frame("f32", SR, p)(frame)
    assert difference(cmsis.Frame("q31", SR, p)(frame), theirs) < 1e-3
    assert difference(cmsis_own("q31", frame.astype(np.int32) << 16, p), theirs) > 1


@pytest.mark.parametrize("kind", cmsis.KINDS)
def test_a_frame_of_zeros_is_that_of_training(kind: cmsis.Kind, p: Features) -> None:
    wide = p.model_copy(update={"clip": 1e3})
    theirs = spectra.features(np.zeros(p.n_fft, np.float32), SR, wide)[0]
    ours = cmsis.Frame(kind, SR, p)(np.zeros(p.n_fft, np.int16))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_packed_filters_are_those_of_training_and_of_cmsis(p: Features) -> None:
    table = cmsis.tables("f32", SR, p)
    matrix = np.zeros((p.n_mels, p.n_fft // 2 + 1), np.float32)
    start = 0
    for row, (position, length) in enumerate(zip(table.positions, table.lengths, strict=True)):
        matrix[row, position : position + length] = table.filters[start : start + length]
        start += length
    assert start == len(table.filters)
    np.testing.assert_array_equal(
        matrix, spectra.mel_filters(SR, p.n_fft, p.n_mels, p.fmin, p.fmax)
    )
    lengths, positions, filters = cmsis_mfcc.melFilterMatrix(
        datatype.F32, p.fmin, p.fmax, p.n_mels, SR, p.n_fft
    )
    assert list(table.lengths) == lengths
    assert list(table.positions) == positions
    np.testing.assert_allclose(table.filters, filters, atol=3e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "spectrogram"}, "features.kind is spectrogram.*mfcc and log_mel"),
        ({"n_mels": 513}, "features.n_mels is 513, .* half of features.n_fft, 512: choose at most"),
        ({"n_fft": 1000}, "features.n_fft is 1000.*512, 1024, 2048"),
        ({"hop_length": 1025}, "features.hop_length is 1025.*1024 samples"),
    ],
)
def test_what_cmsis_does_not_have_is_refused(
    changes: dict[str, object], message: str, p: Features
) -> None:
    with pytest.raises(ParamsError, match=message):
        DeviceFrontEnd("f32", 2, SR, p.model_copy(update=changes))


@pytest.mark.parametrize("changes", [{"kind": "log_mel"}, {"log_offset": 1e-3}, {"lifter": 40}])
def test_q15_has_mfcc_with_its_own_offset_alone(changes: dict[str, object], p: Features) -> None:
    other = p.model_copy(update=changes)
    assert [kind for kind in cmsis.KINDS if cmsis.has(kind, other)] == ["f32", "q31"]
    assert all(cmsis.has(kind, p) for kind in cmsis.KINDS)
    with pytest.raises(ParamsError, match="arm_mfcc_q15 has mfcc with 1e-06 and 0"):
        DeviceFrontEnd("q15", 2, SR, other)


OTHERS = {
    "log-mel": {"kind": "log_mel", "n_mels": 40, "log_offset": 1e-3},
    "log-mel, offset as the paper's": {"kind": "log_mel", "n_mels": 40},
    "MFCC, offset 1e-2": {"n_mels": 64, "log_offset": 1e-2, "clip": 100.0},
    "MFCC, liftered": {"n_mels": 64, "lifter": 80, "clip": 100.0},
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", ["f32", "q31"])
def test_log_mel_and_any_offset_are_those_of_training(
    kind: cmsis.Kind, name: str, x: np.ndarray, p: Features
) -> None:
    other = p.model_copy(update=OTHERS[name])
    device, theirs = DeviceFrontEnd(kind, 2, SR, other), trained(x, other)
    tolerance = {"f32": F32_TOLERANCE, "q31": 1e-2}[kind]
    assert difference(device.features(x), theirs) < tolerance
    # A frame so faint that the offset counts.
    faint = np.random.default_rng(1).integers(-3, 4, p.n_fft).astype(np.int16)
    wide = other.model_copy(update={"clip": 1e3})
    right, wrong = (
        spectra.features((faint / 32768).astype(np.float32), SR, of)[0]
        for of in (wide, wide.model_copy(update={"log_offset": 100 * other.log_offset}))
    )
    assert difference(device.frame(faint), right) < tolerance
    assert difference(wrong, right) > 3 * tolerance


@pytest.mark.parametrize("name", OTHERS)
def test_a_silent_frame_is_that_of_training_with_any_features(name: str, p: Features) -> None:
    other = p.model_copy(update=OTHERS[name] | {"clip": 1e3})
    theirs = spectra.features(np.zeros(p.n_fft, np.float32), SR, other)[0]
    for kind in ("f32", "q31"):
        ours = cmsis.Frame(kind, SR, other)(np.zeros(p.n_fft, np.int16))
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_every_band_of_log_mel_is_levelled_at_the_end(p: Features) -> None:
    device = DeviceFrontEnd("f32", 2, SR, p.model_copy(update=OTHERS["log-mel"]))
    x = speech(2)
    limited = np.clip(x, -4000, 4000)
    limited[:64] = 4000  # the level is known from the first frame on
    whole, deferred = (device.features(limited, mode) for mode in ("whole", "deferred"))
    assert difference(deferred, whole) < 2e-3
    rows = np.array(StreamingFrontEnd(device, len(limited), running=False).hear(limited))
    loud = whole[: len(rows)] > np.log(1.0)
    assert 0.3 < loud.mean() < 0.999
    off = rows - whole[: len(rows)]
    # What the level does is a shift where a band is loud, and less where the offset counts.
    np.testing.assert_allclose(off[loud], np.log(4000 / 32768), atol=1e-2)
    assert np.abs(off[~loud] - np.log(4000 / 32768)).max() > 1e-2
    silence_first = np.concatenate([np.zeros(2000, np.int16), x])[: 2 * SR]
    running = device.features(silence_first, "running")
    np.testing.assert_allclose(running[0], np.log(1e-3), rtol=1e-6)


@pytest.mark.parametrize("name", ["MFCC", *OTHERS])
def test_without_a_level_every_way_is_training_and_loudness_stays_in(
    name: str, x: np.ndarray, p: Features
) -> None:
    plain = p.model_copy(update={"clip": 1e3} | OTHERS.get(name, {}) | {"level": "none"})
    device = DeviceFrontEnd("f32", 2, SR, plain)
    whole = device.features(x)
    assert difference(whole, trained(x, plain)) < F32_TOLERANCE
    for mode in ("deferred", "running"):
        np.testing.assert_array_equal(device.features(x, mode), whole)
    softer = device.features((x // 4).astype(np.int16))
    shifted = (whole - softer)[:, : cmsis.shifted(plain)]
    expected = cmsis.per_log_level(plain) * np.log(4)
    assert np.median(shifted) == pytest.approx(expected, rel=0.1)
    levelled = trained(x, plain.model_copy(update={"level": "clip"}))
    assert difference(levelled[:, 0], whole[:, 0]) > 0.1
    assert front_end.ram("deferred", 32000, 122, 1024, cmsis.levelled(plain), False)["late"] == 0


def test_every_fft_length_that_is_let_pass_is_one_that_cmsis_takes(p: Features) -> None:
    for n_fft in (32, 64, 128, 256, 512, 1024, 2048, 4096):
        short = p.model_copy(
            update={"n_fft": n_fft, "hop_length": n_fft, "n_mels": 16, "n_mfcc": 13}
        )
        frame = speech(0.5)[-n_fft:]
        theirs = spectra.features(
            (frame / 32768).astype(np.float32), SR, short.model_copy(update={"clip": 1e3})
        )[0]
        for kind, tolerance in (("f32", 1e-3), ("q31", 1e-3)):
            assert difference(cmsis.Frame(kind, SR, short)(frame), theirs) < tolerance


def test_the_level_of_a_case_by_hand() -> None:
    x = np.array([5, -7, 0, 3, -32768, 1, 2, -4, 6, 8, 9], np.int16)
    level = Level(len(x))
    level.hear(x)
    # The largest but one is 9, the largest 32,768; rank 0.999 · 10 = 9.99 lies between them.
    assert level.kept == 2
    assert level.value() == pytest.approx(9 + 0.99 * (32768 - 9), rel=1e-12)


@pytest.mark.parametrize("heard", [1, 2, 999, 1000, 1001, 1002, 31999, 32000])
@pytest.mark.parametrize("chunk", [1000, 32000])
def test_the_level_is_the_percentile_that_training_takes(heard: int, chunk: int) -> None:
    x = np.random.default_rng(heard).integers(-32768, 32768, heard).astype(np.int16)
    level = Level(32000)
    for start in range(0, heard, chunk):
        level.hear(x[start : start + chunk])
    assert level.value() == pytest.approx(np.percentile(np.abs(x.astype(float)), 99.9), rel=1e-9)


def test_one_value_less_than_is_kept_would_be_too_few() -> None:
    x = np.arange(32000, dtype=np.int16)
    right, wrong = Level(32000), Level(32000)
    wrong.kept -= 1
    right.hear(x)
    wrong.hear(x)
    assert wrong.value() != right.value()


@pytest.mark.parametrize("mode", front_end.MODES)
@pytest.mark.parametrize("seconds", [1.1, 2, 3])
def test_a_clip_is_cut_or_padded_as_in_training(
    seconds: float, mode: front_end.Mode, p: Features
) -> None:
    x = speech(seconds)
    ours, theirs = DeviceFrontEnd("f32", 2, SR, p).features(x, mode), trained(x, p)
    assert ours.shape == theirs.shape
    if mode == "whole":
        assert difference(ours, theirs) < F32_TOLERANCE
    else:  # few frames are limited at another level
        assert np.median(np.abs(ours - theirs)[:, 1:]) < 1e-3


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("chunk", [1, 256, 1000, 48000])
def test_samples_may_arrive_in_any_pieces(chunk: int, running: bool, p: Features) -> None:
    x = speech(0.5)
    device = DeviceFrontEnd("f32", 0.7, SR, p)
    stream = StreamingFrontEnd(device, len(x), running)
    for start in range(0, len(x), chunk):
        stream.hear(x[start : start + chunk])
    mode: front_end.Mode = "running" if running else "deferred"
    np.testing.assert_array_equal(stream.finish(), device.features(x, mode))


@pytest.mark.parametrize("kind", cmsis.KINDS)
def test_deferred_equals_whole_where_the_level_is_known_from_the_first(
    kind: cmsis.Kind, x: np.ndarray, p: Features
) -> None:
    device = DeviceFrontEnd(kind, 2, SR, p)
    level = 4000
    limited = np.clip(x, -level, level)
    limited[:64] = level  # two thousandths of the clip
    # What is left is 1e-6 of full scale in place of 1e-6 of the level.
    tolerance = {"f32": 2e-2, "q31": 2e-2, "q15": 1e-3}[kind]
    whole = device.features(limited)
    assert difference(device.features(limited, "deferred"), whole) < tolerance
    assert difference(device.features(limited, "running"), whole) < tolerance
    rows = np.array(StreamingFrontEnd(device, len(limited), running=False).hear(limited))
    uncorrected = device.limited(rows)[:, 0]
    assert difference(uncorrected, whole[: len(rows), 0]) > 1


def levels_so_far(x: np.ndarray, device: DeviceFrontEnd, left: int) -> np.ndarray:
    ends = np.arange(device.frames) * 256 + 1024 - left
    magnitude = np.abs(x.astype(float))
    return np.array([np.percentile(magnitude[:end], 99.9) if end > 0 else 0 for end in ends])


def test_deferred_differs_in_the_frames_that_are_limited_at_another_level(
    x: np.ndarray, p: Features
) -> None:
    device = DeviceFrontEnd("f32", 2, SR, p)
    whole = device.features(x)
    off = np.abs(device.features(x, "deferred") - whole).max(axis=1)
    left = (2 * SR - len(x)) // 2
    padded = np.pad(np.abs(x.astype(float)), (left, 2 * SR - len(x) - left))
    peaks = np.array([padded[t * 256 : t * 256 + 1024].max() for t in range(device.frames)])
    so_far, level = levels_so_far(x, device, left), np.percentile(np.abs(x.astype(float)), 99.9)
    same = peaks <= np.minimum(so_far, level)
    assert 0.3 < same.mean() < 1
    assert off[same].max() < 2e-2
    assert off[~same].max() > 0.2


def test_a_limit_at_the_level_so_far_is_better_than_none(
    x: np.ndarray, p: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = DeviceFrontEnd("f32", 2, SR, p)
    whole, limited = device.features(x), device.features(x, "deferred")
    unlimited = device.frame
    monkeypatch.setattr(device, "frame", lambda frame, limit: unlimited(frame))
    without = device.features(x, "deferred")
    assert np.abs(limited - whole).mean() < 0.9 * np.abs(without - whole).mean()


def test_what_a_deferred_device_keeps_of_a_frame_is_final_but_for_c0(p: Features) -> None:
    x = speech(2)
    device = DeviceFrontEnd("f32", 2, SR, p)
    kept = np.array(StreamingFrontEnd(device, len(x), running=False).hear(x))
    as_they_came = quantize(device.limited(kept), SCALE, ZERO_POINT)
    at_the_end = device.quantized(x, SCALE, ZERO_POINT, "deferred")
    np.testing.assert_array_equal(as_they_came[:, 1:], at_the_end[:, 1:])
    level = np.percentile(np.abs(x.astype(float)), 99.9)
    c0 = np.clip(kept[:, 0] - 16 * np.log(level / 32768), -p.clip, p.clip)
    np.testing.assert_array_equal(quantize(c0, SCALE, ZERO_POINT), at_the_end[:, 0])


def test_running_rows_do_not_wait_for_what_comes_later(p: Features) -> None:
    x = np.concatenate([np.zeros(1024, np.int16), speech(1), np.zeros(400, np.int16)])
    louder = np.concatenate([x[:9000], np.clip(x[9000:] * 3.0, -32768, 32767).astype(np.int16)])
    device = DeviceFrontEnd("f32", len(x) / SR, SR, p)
    before = (9000 - p.n_fft) // p.hop_length + 1  # frames that end before the change
    running, other = (device.features(y, "running") for y in (x, louder))
    np.testing.assert_array_equal(running[:before], other[:before])
    assert running[0, 0] == -p.clip  # silence so far
    deferred, of_louder = (device.features(y, "deferred") for y in (x, louder))
    assert difference(deferred[:before, 0], of_louder[:before, 0]) > 1
    # Once all of the speech was heard, the level so far is that of the clip.
    np.testing.assert_allclose(running[-1], deferred[-1], atol=0.2)


@pytest.mark.parametrize("mode", front_end.MODES)
@pytest.mark.parametrize("n", [0, 32000])
def test_silence_is_refused(n: int, mode: front_end.Mode, p: Features) -> None:
    with pytest.raises(AudioError, match="expected speech"):
        DeviceFrontEnd("f32", 2, SR, p).features(np.zeros(n, np.int16), mode)


def test_floats_become_what_a_converter_of_16_bits_gives() -> None:
    y = np.array([0.0, 1.4 / 32768, -1.6 / 32768, 1.0, -1.0, 7.0], np.float32)
    np.testing.assert_array_equal(to_int16(y), [0, 1, -2, 32767, -32768, 32767])


def test_memory_is_that_of_a_count_by_hand(p: Features) -> None:
    whole = front_end.ram("whole", 3 * SR, 184, p.n_fft, 1, with_cmsis=False)
    # 49 magnitudes of 16 bits, padded to words, and how many there are.
    assert whole == {"frame": 4096, "level": 104, "audio": 96_000, "state": 16}
    deferred = front_end.ram("deferred", 7 * SR, 434, p.n_fft, 1, with_cmsis=True)
    assert deferred["cmsis scratch"] == 2 * 4096 + 56
    assert (deferred["audio"], deferred["level"], deferred["late"]) == (2048, 232, 434 * 4)
    bands = front_end.ram("deferred", 3 * SR, 184, p.n_fft, 40, with_cmsis=False)
    assert bands["late"] == 40 * 184 * 4
    flash = cmsis.flash(SR, p)
    assert (flash["basis"], flash["window"]) == (40 * 128 * 4, 4096)
    # arm_cfft_f32 of 512, the step to a real FFT of 1024, and the bit reversal table.
    assert flash["fft"] == 512 * 2 * 4 + 1024 * 4 + 448 * 2


def test_the_working_memory_holds_what_cmsis_asks_for(p: Features) -> None:
    elements = cmsisdsp.arm_mfcc_tmp_buffer_size(
        datatype.F32, p.n_fft, 1, arch=cmsisdsp.ARM_MATH_DSP_EXTENSIONS_ARCH, use_cfft=0
    )
    used = front_end.ram("running", 3 * SR, 184, p.n_fft, 1, with_cmsis=True)
    assert used["cmsis scratch"] >= 4 * elements


@pytest.fixture
def clips(tmp_path: Path) -> dict[str, Path]:
    files = {}
    for number in range(5):
        files[f"clip{number}"] = tmp_path / f"{number}.wav"
        y = speech(1, number)
        wavfile.write(files[f"clip{number}"], SR, y if number else (y / 32768).astype(np.float32))
    return files


def test_clips_are_the_same_in_parallel_and_one_by_one(
    clips: dict[str, Path], p: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_end, "_BATCH", 2)
    for name in ("cmsis_f32", "cmsis_q15"):
        together = front_end.of_clips(clips, CHAINS[name], 1, SR, p)
        device = DeviceFrontEnd(CHAINS[name].kind, 1, SR, p)
        alone = [device.features(speech(1, number)) for number in range(5)]
        np.testing.assert_array_equal(together, np.array(alone))


def test_the_change_comes_before_the_front_end(clips: dict[str, Path], p: Features) -> None:
    heard = []

    def reverse(x: np.ndarray, clip: str, sample_rate: int) -> np.ndarray:
        heard.append((clip, sample_rate))
        return x[::-1]

    changed = front_end.of_clips(clips, CHAINS["cmsis_f32"], 1, SR, p, change=reverse)
    assert heard == [(clip, SR) for clip in clips]
    device = DeviceFrontEnd("f32", 1, SR, p)
    np.testing.assert_array_equal(changed[2], device.features(speech(1, 2)[::-1]))


def test_a_silent_clip_is_named(clips: dict[str, Path], p: Features) -> None:
    wavfile.write(clips["clip3"], SR, np.zeros(SR, np.int16))
    with pytest.raises(AudioError, match="clip3: the level of the clip is 0"):
        front_end.of_clips(clips, CHAINS["cmsis_f32"], 1, SR, p)
