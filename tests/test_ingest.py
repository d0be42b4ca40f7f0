"""Ingest: audio and manifest appear whole or not at all."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.io import wavfile

from pipeline import ingest, manifest
from pipeline.errors import AudioError


@pytest.fixture
def run(
    emodb_folder: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Path]:
    folder = write_params(corpus__name="emodb", corpus__path=str(emodb_folder)).parent
    monkeypatch.chdir(folder)

    def run() -> Path:
        ingest.main()
        return folder / "data"

    return run


def test_the_manifest_tells_each_clip(run: Callable[[], Path], tone: np.ndarray) -> None:
    data = run()
    rows = manifest.read(data / "manifest.csv")
    assert list(rows.columns) == manifest.COLUMNS
    assert list(rows["clip"]) == ["03a01Fa", "03a01Wa", "08a01Fa", "08a01Wa"]
    assert list(rows["speaker"]) == ["03", "03", "08", "08"]
    assert list(rows["seconds"]) == [1.0] * 4
    assert rows["sha256"][0] == hashlib.sha256(tone.tobytes()).hexdigest()
    rate, y = wavfile.read(data / "clips" / "03a01Fa.wav")
    assert (rate, y.dtype) == (16000, np.float32)
    np.testing.assert_array_equal(y, tone)


def test_twice_gives_the_same_bytes(run: Callable[[], Path]) -> None:
    def digests(folder: Path) -> dict[str, bytes]:
        return {str(f): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}

    assert digests(run()) == digests(run())


def test_one_broken_clip_leaves_nothing(run: Callable[[], Path], emodb_folder: Path) -> None:
    broken = emodb_folder / "wav" / "08a01Fa.wav"
    broken.write_bytes(broken.read_bytes()[:-10])
    with pytest.raises(AudioError, match=r"1 of 4 recordings cannot be used: .*08a01Fa\.wav"):
        run()
    assert [f for f in Path("data").rglob("*") if f.is_file()] == []


def test_a_failed_run_keeps_the_earlier_one(run: Callable[[], Path], emodb_folder: Path) -> None:
    before = (run() / "manifest.csv").read_bytes()
    (emodb_folder / "wav" / "08a01Fa.wav").write_bytes(b"")
    with pytest.raises(AudioError, match="empty"):
        run()
    assert Path("data/manifest.csv").read_bytes() == before
    assert sorted(f.name for f in Path("data").iterdir()) == ["clips", "manifest.csv"]


def test_the_same_samples_in_another_format_have_the_same_digest(
    tmp_path: Path, tone: np.ndarray
) -> None:
    quantized = np.round(tone * 32768) / 32768
    digests = set()
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, quantized, 16000, subtype="PCM_16")
        digests.add(ingest.digest(ingest.decode(tmp_path / name, 16000)))
    assert len(digests) == 1
