"""Decoding: any format to mono at one rate; what is no recording is named."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio.decode import decode
from pipeline.errors import AudioError


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 2 / 2**8), ("PCM_16", 2 / 2**16), ("PCM_24", 2 / 2**24), ("PCM_32", 2 / 2**24), ("FLOAT", 0), ("DOUBLE", 1e-7)],
)  # fmt: skip
def test_every_bit_depth_gives_the_same_samples(
    tmp_path: Path, tone: np.ndarray, subtype: str, step: float
) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, tone, 16000, subtype=subtype)
    y = decode(file, 16000)
    assert y.dtype == np.float32
    assert np.abs(y - tone).max() <= step


def test_channels_are_averaged(tmp_path: Path, tone: np.ndarray) -> None:
    file = tmp_path / "stereo.wav"
    soundfile.write(file, np.stack([tone, -0.5 * tone], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(decode(file, 16000), 0.25 * tone, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_any_rate_keeps_the_tone_and_the_duration(tmp_path: Path, rate: int) -> None:
    file = tmp_path / "a.wav"
    t = np.arange(rate) / rate
    soundfile.write(file, 0.5 * np.sin(2 * np.pi * 1000 * t), rate, subtype="FLOAT")
    y = decode(file, 16000)
    assert abs(len(y) - 16000) <= 1
    spectrum = np.abs(np.fft.rfft(y[:16000] * np.hanning(len(y[:16000]))))
    assert abs(np.argmax(spectrum) * 16000 / len(y) - 1000) <= 1
    assert np.abs(y[2000:14000]).max() == pytest.approx(0.5, abs=0.01)


def test_flac_ogg_mp3_and_aiff_are_read(tmp_path: Path, tone: np.ndarray) -> None:
    for suffix in ("flac", "ogg", "mp3", "aiff"):
        soundfile.write(tmp_path / f"a.{suffix}", tone, 16000)
        assert len(decode(tmp_path / f"a.{suffix}", 16000)) == len(tone)


def test_a_path_with_spaces_and_umlauts(tmp_path: Path, tone: np.ndarray) -> None:
    folder = tmp_path / "Stimmen für später"
    folder.mkdir()
    soundfile.write(folder / "Müller 1.wav", tone, 16000)
    assert len(decode(folder / "Müller 1.wav", 16000)) == len(tone)


def test_a_truncated_wav_is_refused_and_the_whole_one_is_not(
    tmp_path: Path, tone: np.ndarray
) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, tone, 16000, subtype="PCM_16")
    decode(file, 16000)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(AudioError, match="truncated, the header promises 32000 bytes"):
        decode(file, 16000)


@pytest.mark.parametrize("suffix", ["aiff", "flac", "mp3"])
def test_other_formats_that_were_cut_off_are_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    soundfile.write(file, np.random.default_rng(0).uniform(-0.5, 0.5, 64000), 16000)
    content = file.read_bytes()
    assert len(decode(file, 16000)) == 64000
    file.write_bytes(content[: len(content) // 2])
    said = "cannot be read|not audio" if suffix == "flac" else "truncated, the header promises"
    with pytest.raises(AudioError, match=said):
        decode(file, 16000)


@pytest.mark.parametrize("picture", [0, 300])
def test_an_mp3_behind_a_tag_is_held_against_its_own_count(tmp_path: Path, picture: int) -> None:
    file = tmp_path / "a.mp3"
    soundfile.write(file, np.random.default_rng(0).uniform(-0.5, 0.5, 64000), 16000)
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, picture >> 7, picture & 127]) + bytes(picture)
    content = tag + file.read_bytes()
    file.write_bytes(content)
    assert len(decode(file, 16000)) == 64000
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match="truncated, the header promises 64000 samples"):
        decode(file, 16000)


def test_an_mp3_that_does_not_count_its_frames_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.mp3"
    y = np.random.default_rng(0).uniform(-0.5, 0.5, 160000)
    y[:80000] = 0  # small frames first: libsndfile's guess is then far above what is there
    soundfile.write(file, y, 16000, bitrate_mode="VARIABLE")
    content = file.read_bytes()
    assert content[13:17] == b"Xing"
    file.write_bytes(content[content.index(content[:2], 2) :])
    assert soundfile.info(file).frames > 2 * len(y)
    assert len(decode(file, 16000)) == pytest.approx(len(y), abs=3000)


# What SoX, ffmpeg and others write where they cannot go back to the header.
@pytest.mark.parametrize("length", [0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_streamed_wav_of_unknown_length_is_read(
    tmp_path: Path, tone: np.ndarray, length: int
) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, tone, 16000, subtype="PCM_16")
    content = bytearray(file.read_bytes())
    content[40:44] = length.to_bytes(4, "little")
    file.write_bytes(content)
    assert len(decode(file, 16000)) == len(tone)


def test_a_streamed_aiff_of_unknown_length_is_read(tmp_path: Path, tone: np.ndarray) -> None:
    file = tmp_path / "a.aiff"
    soundfile.write(file, tone, 16000, subtype="PCM_16")
    content = bytearray(file.read_bytes())
    place = content.index(b"SSND") + 4
    content[place : place + 4] = (0x7F000000 + 8).to_bytes(4, "big")
    file.write_bytes(content)
    assert len(decode(file, 16000)) == len(tone)


def test_a_wav_whose_header_was_never_finished_is_named(tmp_path: Path, tone: np.ndarray) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, tone, 16000, subtype="PCM_16")
    content = bytearray(file.read_bytes())
    content[40:44] = bytes(4)
    file.write_bytes(content)
    with pytest.raises(AudioError, match=r"unfinished.* 32000 bytes follow; write it anew"):
        decode(file, 16000)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "empty, 0 bytes"), (b"not a recording at all", "not audio that libsndfile reads")],
)
def test_what_is_no_recording_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(content)
    with pytest.raises(AudioError, match=said) as caught:
        decode(file, 16000)
    assert "a.wav" in str(caught.value)


def test_a_header_without_samples_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, np.zeros(0, np.float32), 16000)
    with pytest.raises(AudioError, match="no samples"):
        decode(file, 16000)


@pytest.mark.parametrize("samples", [0, 2**36 - 1])  # 0 stands for "not known"
def test_a_flac_whose_header_gives_no_possible_length_is_refused(
    tmp_path: Path, tone: np.ndarray, samples: int
) -> None:
    file = tmp_path / "a.flac"
    soundfile.write(file, tone, 16000)
    content = bytearray(file.read_bytes())
    assert int.from_bytes(content[21:26]) % 2**36 == len(tone)  # where STREAMINFO has the length
    others = int.from_bytes(content[21:26]) - len(tone)
    content[21:26] = (others + samples).to_bytes(5)
    file.write_bytes(content)
    with pytest.raises(AudioError, match="does not say how long it is"):
        decode(file, 16000)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="No such file"):
        decode(tmp_path / "a.wav", 16000)


def test_samples_without_a_header_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.raw"
    file.write_bytes(b"\x00\x01" * 100)
    with pytest.raises(AudioError, match="not audio that libsndfile reads"):
        decode(file, 16000)
