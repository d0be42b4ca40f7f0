"""Stage 1, ingest: the recordings of a corpus to mono audio at one rate, and a manifest."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import wavfile

from pipeline import corpora, manifest, params, paths
from pipeline.audio.decode import decode
from pipeline.corpora import Clip
from pipeline.errors import AudioError, listed, run
from pipeline.outputs import staged
from pipeline.progress import Progress

PARAMS = ("corpus", "sample_rate")


def digest(y: np.ndarray) -> str:
    """sha256 of the samples: the same recording under two names, or in two formats, is found."""
    return hashlib.sha256(y.astype("<f4").tobytes()).hexdigest()


def ingest(clips: list[Clip], sample_rate: int, folder: Path) -> pd.DataFrame:
    """Decode `clips`, write them to `folder` as 32-bit float wav, and return the manifest.

    Raises
    ------
    AudioError
        Recordings cannot be decoded; the message names them.
    """
    rows, problems = [], []
    for clip in Progress(clips, name="ingest", unit="clip"):
        try:
            y = decode(clip.file, sample_rate)
        except AudioError as problem:
            problems.append(problem)
            continue
        # scipy writes no time stamp; libsndfile puts one into every float wav.
        wavfile.write(folder / f"{clip.id}.wav", sample_rate, y)
        rows.append(
            {
                "clip": clip.id,
                "source": clip.source,
                "label": clip.label,
                "speaker": clip.speaker,
                "session": clip.session,
                "paper_key": clip.paper_key or clip.speaker,
                "seconds": round(len(y) / sample_rate, 4),
                "sha256": digest(y),
            }
        )
    if problems:
        raise AudioError(
            f"{len(problems)} of {len(clips)} recordings cannot be used: {listed(problems, 3)}"
        )
    return pd.DataFrame(rows, columns=manifest.COLUMNS)


def main() -> None:
    p = params.select(PARAMS)
    with (
        tempfile.TemporaryDirectory() as workspace,
        staged(paths.CLIPS, paths.MANIFEST) as (folder, table),
    ):
        clips = corpora.find(p.corpus.name, Path(p.corpus.path), Path(workspace), p.corpus.subset)
        folder.mkdir()
        rows = ingest(clips, p.sample_rate, folder)
        manifest.write(rows, table)
    print(
        f"ingest: {len(rows)} clips, {rows['seconds'].sum() / 60:.1f} minutes, "
        f"{rows['label'].nunique()} classes, {rows['speaker'].nunique()} speakers"
    )


if __name__ == "__main__":
    run(main)
