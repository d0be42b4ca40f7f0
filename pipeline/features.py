"""Stage 3, features: one array per clip, computed once for each recording and parameter set."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from pipeline import manifest, params, paths
from pipeline.audio.front_end import CachedFrontEnd
from pipeline.errors import AudioError, listed, run
from pipeline.outputs import staged

PARAMS = ("input_len", "sample_rate", "features")
BATCH = 256  # clips held in memory at a time


def compute_all(
    rows: pd.DataFrame, folder: Path, front_end: CachedFrontEnd
) -> Iterator[tuple[str, np.ndarray, bool]]:
    """For each clip its id, its features, and whether they had to be computed.

    Raises
    ------
    AudioError
        Clips have no features; the message names them.
    """
    folder = folder.resolve()  # a worker process may stand in another directory

    def attempt(clip: str, sha256: str) -> tuple[str, np.ndarray | str, bool]:
        audio = folder / f"{clip}.wav"
        new = not front_end.known(audio, sha256)
        try:
            return clip, front_end(audio, sha256), new
        except AudioError as problem:
            return clip, f"{clip}: {problem}", new

    problems = []
    with Parallel(n_jobs=-1, return_as="generator") as parallel:
        for start in range(0, len(rows), BATCH):
            batch = rows.iloc[start : start + BATCH]
            for clip, array, new in parallel(
                delayed(attempt)(row.clip, row.sha256) for row in batch.itertuples()
            ):
                if isinstance(array, str):
                    problems.append(array)
                else:
                    yield clip, array, new
    if problems:
        raise AudioError(
            f"{len(problems)} of {len(rows)} clips have no features: {listed(problems, 3)}"
        )


def main() -> None:
    p = params.select(PARAMS)
    rows = manifest.read()
    computed = 0
    with staged(paths.FEATURES) as (folder,):
        folder.mkdir()
        clips = compute_all(
            rows, paths.CLIPS, CachedFrontEnd(p.input_len, p.sample_rate, p.features)
        )
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
