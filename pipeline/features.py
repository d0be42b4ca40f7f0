"""Stage 3, features: one array per clip, computed once for each recording and parameter set."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.io import wavfile
from tqdm import tqdm

from pipeline import manifest, params, paths
from pipeline.audio import cut as cut_module
from pipeline.audio import spectra
from pipeline.cache import cached, code_version
from pipeline.errors import AudioError, listed, run
from pipeline.outputs import staged
from pipeline.params import Features

PARAMS = ("input_len", "sample_rate", "features")
BATCH = 256  # clips held in memory at a time


def compute(
    audio: Path, sha256: str, input_len: float, sample_rate: int, p: Features, version: str
) -> np.ndarray:
    """Features of one clip [shape=(frames, bins)]; `sha256` and `version` stand for what is read."""
    _, y = wavfile.read(audio)
    return spectra.features(cut_module.cut(y, round(input_len * sample_rate)), sample_rate, p)


def compute_all(
    rows: pd.DataFrame, folder: Path, input_len: float, sample_rate: int, p: Features
) -> Iterator[tuple[str, np.ndarray, bool]]:
    """For each clip its id, its features, and whether they had to be computed.

    Raises
    ------
    AudioError
        Clips have no features; the message names them.
    """
    folder = folder.resolve()  # a worker process may stand in another directory
    recall = cached(compute, ignore=["audio"])
    version = code_version(cut_module, spectra, packages=("librosa", "numpy"))

    def arguments(row: pd.Series) -> tuple[object, ...]:
        return folder / f"{row.clip}.wav", row.sha256, input_len, sample_rate, p, version

    def attempt(row: pd.Series) -> tuple[str, np.ndarray | str, bool]:
        known = recall.check_call_in_cache(*arguments(row))
        try:
            return row.clip, recall(*arguments(row)), not known
        except AudioError as problem:
            return row.clip, f"{row.clip}: {problem}", True

    problems = []
    with Parallel(n_jobs=-1, return_as="generator") as parallel:
        for start in range(0, len(rows), BATCH):
            batch = rows.iloc[start : start + BATCH]
            for clip, array, new in parallel(delayed(attempt)(row) for row in batch.itertuples()):
                if isinstance(array, str):
                    problems.append(array)
                else:
                    yield clip, array, new
    if problems:
        raise AudioError(
            f"{len(problems)} of {len(rows)} clips have no features: {listed(problems, 3)}"
        )


def load(ids: list[str], folder: Path = paths.FEATURES) -> np.ndarray:
    """Features of the clips `ids` [shape=(clips, frames, bins, 1)], float32."""
    paths.require(folder)
    return np.stack([np.load(folder / f"{clip}.npy") for clip in ids])[..., np.newaxis]


def main() -> None:
    p = params.select(PARAMS)
    rows = manifest.read()
    computed = 0
    with staged(paths.FEATURES) as (folder,):
        folder.mkdir()
        clips = compute_all(rows, paths.CLIPS, p.input_len, p.sample_rate, p.features)
        for clip, array, new in tqdm(
            clips, total=len(rows), desc="features", unit="clip", disable=None
        ):
            np.save(folder / f"{clip}.npy", array)
            computed += new
    print(
        f"features: {len(rows)} clips of {array.shape[0]} frames × {array.shape[1]}; "
        f"{computed} computed, {len(rows) - computed} from the cache"
    )


if __name__ == "__main__":
    run(main)
