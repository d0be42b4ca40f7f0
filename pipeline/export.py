"""Stage 9, export: the model and its front end as C files, with vectors to check them against."""

from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.bundle import files
from pipeline.bundle.budgeted import Budgeted
from pipeline.bundle.silence import least_level
from pipeline.errors import run
from pipeline.mcu import cmsis
from pipeline.outputs import staged
from pipeline.tflite import card
from pipeline.tflite.streaming import split
from pipeline.written import read_json

PARAMS = ()
AMPLITUDE = 12000  # of the golden clips, in steps of int16


def voice_like(n: int, sample_rate: int, pitch: float) -> np.ndarray:
    """A clip that anybody may have, int16 [shape=(n,)]: pulses that glide, in syllables, over noise.

    Golden vectors go where the model goes, so they cannot be recordings of a licensed corpus.
    """
    t = np.arange(n) / sample_rate
    glide = pitch * (1 + 0.2 * np.sin(2 * np.pi * 0.7 * t))
    phase = np.cumsum(glide) / sample_rate
    pulses = np.exp(-40 * (phase % 1)) * np.sin(2 * np.pi * 12 * (phase % 1))
    syllables = np.clip(np.sin(2 * np.pi * 3 * t), 0, None)
    noise = 0.01 * np.random.default_rng(0).standard_normal(n)
    return np.rint(AMPLITUDE * (pulses * syllables + noise)).astype(np.int16)


def write(folder: Path) -> str:
    """Write the bundle of the model that `evaluate` left to be flashed into `folder`.

    Returns
    -------
    str
        For which board it was budgeted, and whether it fits.

    Raises
    ------
    ModelError
        The model's figures are missing, or those of another model.
    """
    budgeted = Budgeted.of(read_json(paths.EVALUATION))
    described = card.read(paths.MODEL)
    plain = paths.MODEL.read_bytes()
    flashed = paths.require(paths.DEVICE / "model.tflite")
    model = flashed.read_bytes()
    budgeted.check("plain", plain, paths.MODEL)
    budgeted.check("deployed", model, flashed)
    n = round(described.input_len * described.sample_rate)
    clips = {
        "low": voice_like(n, described.sample_rate, 110.0),
        "high": voice_like(n // 2, described.sample_rate, 220.0),  # shorter than the network's view
    }
    quiet = least_level(read_json(paths.VALIDATION))
    streamed = split(plain) if budgeted.streams else None
    files.write(folder, model, described, budgeted, clips, streamed, quiet)
    return budgeted.summary(levelled=cmsis.levelled(described.feature_params()) > 0)


def main() -> None:
    refused = Budgeted.of(read_json(paths.EVALUATION)).no_front_end
    with staged(paths.BUNDLE) as (folder,):
        if refused:
            folder.mkdir()
            (folder / "README.md").write_text(f"No bundle: {refused}.\n", "utf-8")
            said = f"no bundle: {refused}"
        else:
            said = f"{paths.BUNDLE}: {write(folder)}"
    print(f"export: {said}")


if __name__ == "__main__":
    run(main)
