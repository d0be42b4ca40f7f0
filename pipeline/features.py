"""Stage 3, features: one array per clip, computed once for each recording and parameter set."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import manifest, params, paths, workers
from pipeline.audio.front_end import CachedFrontEnd
from pipeline.errors import AudioError, listed, run
from pipeline.outputs import staged
from pipeline.progress import Progress

PARAMS = ("input_len", "sample_rate", "features")
BATCH = 256  # clips held in memory at a time


def attempt(
    front_end: CachedFrontEnd, audio: Path, sha256: str
) -> tuple[np.ndarray | AudioError, bool]:
    """Features of a clip, or why there are none, and whether they had to be computed."""
    new = not front_end.known(audio, sha256)
    try:
        return front_end(audio, sha256), new
    except AudioError as problem:
        return problem, new


def compute_all(
    rows: pd.DataFrame, folder: Path, front_end: CachedFrontEnd
) -> Iterator[tuple[str, np.ndarray, bool]]:
    """For each clip its id, its features, and whether they had to be computed.

    Raises
    ------
    AudioError
        Clips have no features; the message names them.
    """
    problems = []
    for start in range(0, len(rows), BATCH):
        batch = rows.iloc[start : start + BATCH]
        calls = [(front_end, folder / f"{row.clip}.wav", row.sha256) for row in batch.itertuples()]
        for clip, (found, new) in zip(batch["clip"], workers.run(attempt, calls), strict=True):
            if isinstance(found, AudioError):
                problems.append(f"{clip}: {found}")
            else:
                yield clip, found, new
    if problems:
        raise AudioError(
            f"{len(problems)} of {len(rows)} clips have no features: {listed(problems, 3)}"
        )


def main() -> None:
    p = params.select(PARAMS)
    rows, audio = manifest.read(), paths.require(paths.CLIPS)
    computed = 0
    with staged(paths.FEATURES) as (folder,):
        folder.mkdir()
        clips = compute_all(rows, audio, CachedFrontEnd(p.input_len, p.sample_rate, p.features))
        for clip, array, new in Progress(clips, total=len(rows), name="features", unit="clip"):
            np.save(folder / f"{clip}.npy", array)
            computed += new
    print(
        f"features: {len(rows)} clips of {array.shape[0]} frames × {array.shape[1]}; "
        f"{computed} computed, {len(rows) - computed} from the cache"
    )


if __name__ == "__main__":
    run(main)
