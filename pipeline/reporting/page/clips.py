"""What the model hears: some clips' features as pictures, with their sound."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pandas as pd

from pipeline import paths
from pipeline.audio.cut import cut
from pipeline.reporting.page import png
from pipeline.reporting.page.run import Input, Run

CLASSES = 8  # at most so many classes are shown, each with a right and a wrong clip
BYTES = 2_700_000  # of all pictures and recordings; in the page they take four thirds of that
TOLD = 3  # of a clip's probabilities, the largest


@dataclass(frozen=True)
class Heard:
    """A test clip; probabilities are the int8 model's, from 0 to 1, the largest first."""

    name: str
    speaker: str
    actual: str
    said: str
    probabilities: list[tuple[str, float]]
    picture: bytes  # PNG
    frames: int
    bins: int
    sound: bytes | None  # FLAC

    @property
    def right(self) -> bool:
        return self.actual == self.said


@dataclass(frozen=True)
class Hearing:
    """`limit` is the value of the pictures' darkest colours; `left_out` counts clips without sound."""

    clips: list[Heard]
    limit: float
    kind: str
    seconds: float
    left_out: int

    @property
    def has_sound(self) -> bool:
        return any(clip.sound for clip in self.clips)


def choose(run: Run, include_audio: bool) -> Hearing | None:
    """For each class the clip that was recognised most surely and the one that was mistaken so.

    None where predictions, parameters or features are missing.
    """
    if run.predictions is None or run.input is None:
        return None
    chosen = [
        row for row in _chosen(run.predictions) if (paths.FEATURES / f"{row['clip']}.npy").is_file()
    ]
    if not chosen:
        return None
    features = [np.load(paths.FEATURES / f"{row['clip']}.npy") for row in chosen]
    limit = max(float(np.abs(x).max()) for x in features) or 1.0
    pictures = [png.picture(x, limit) for x in features]
    heard = []
    room = max(0, BYTES - sum(map(len, pictures))) if include_audio else 0
    for row, x, picture in zip(chosen, features, pictures, strict=True):
        sound = _sound(row["clip"], run.input) if room else None
        if sound and len(sound) > room:
            sound = None
        room -= len(sound or b"")
        heard.append(
            Heard(
                name=row["clip"],
                speaker=row["speaker"],
                actual=row["actual"],
                said=row["predicted_int8"],
                probabilities=sorted(_probabilities(row).items(), key=lambda p: -p[1])[:TOLD],
                picture=picture,
                frames=x.shape[0],
                bins=x.shape[1],
                sound=sound,
            )
        )
    left_out = sum(clip.sound is None for clip in heard) if include_audio else 0
    return Hearing(heard, limit, run.input.kind, run.input.seconds, left_out)


def _chosen(predictions: pd.DataFrame) -> list[pd.Series]:
    rows = predictions.sort_values("clip")
    said = rows["predicted_int8"]
    if any(f"p_{label}" not in rows for label in said.unique()):
        return []
    sure = pd.Series([float(row[f"p_{row['predicted_int8']}"]) for _, row in rows.iterrows()], rows.index)  # fmt: skip
    chosen = []
    for label in sorted(rows["actual"].unique())[:CLASSES]:
        of_class = rows["actual"] == label
        for side in (of_class & (said == label), of_class & (said != label)):
            if side.any():
                chosen.append(rows.loc[sure[side].idxmax()])
    return chosen


def _probabilities(row: pd.Series) -> dict[str, float]:
    return {
        name.removeprefix("p_"): float(value)
        for name, value in row.items()
        if name.startswith("p_")
    }


def _sound(clip: str, of: Input) -> bytes | None:
    """The clip as the front end gets it, cut, and levelled if it is, as FLAC; None where it is not there."""
    import soundfile

    file = paths.CLIPS / f"{clip}.wav"
    if not file.is_file():
        return None
    y, _ = soundfile.read(file)
    content = BytesIO()
    heard = cut(y, round(of.seconds * of.sample_rate), of.levelled)
    soundfile.write(content, heard, of.sample_rate, format="FLAC", subtype="PCM_16")
    return content.getvalue()
