"""RAVDESS, speech (Livingstone and Russo, PLoS ONE 2018): 24 actors, 8 emotions, 1,440 clips.

File names are seven numbers of two digits: modality, vocal channel, emotion, intensity, statement,
repetition, actor. Only audio alone (03) of speech (01) is read; songs and films may lie beside it.
"""

import re
from pathlib import Path

from pipeline.corpora import Clip, wavs
from pipeline.errors import CorpusError, listed

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
LABELS = sorted(EMOTIONS.values())
INTENSITIES = {"01": "normal", "02": "strong"}
AUDIO_ONLY, SPEECH = "03", "01"
NAME = re.compile(
    r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>\d\d)-(?P<intensity>0[12])"
    r"-(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>\d\d)"
)
TREE = """\
  {path}/
    Actor_01/
      03-01-01-01-01-01-01.wav
      ...
    ...
    Actor_24/"""


def find(path: Path, workspace: Path) -> list[Clip]:
    """The clips of speech in `path`, at any depth."""
    files = wavs(path.rglob("*"))
    if not files:
        raise CorpusError(
            f"no RAVDESS at corpus.path: no wav file in {path}; it is free for research "
            f"(Livingstone and Russo 2018, Audio_Speech_Actors_01-24), and expected as\n{TREE.format(path=path)}"
        )
    clips, problems = [], []
    for file in files:
        match = NAME.fullmatch(file.stem)
        if match is None or match["emotion"] not in EMOTIONS:
            problems.append(file.name)
        elif (match["modality"], match["channel"]) == (AUDIO_ONLY, SPEECH):
            clips.append(
                Clip(
                    file.stem,
                    file,
                    file.relative_to(path).as_posix(),
                    label=EMOTIONS[match["emotion"]],
                    speaker=match["actor"],
                    subset=INTENSITIES[match["intensity"]],
                )
            )
    if problems:
        raise CorpusError(
            f"{len(problems)} of {len(files)} files in {path} are not named as RAVDESS's, for instance 03-01-06-01-02-01-12.wav: {listed(problems)}"
        )
    if not clips:
        raise CorpusError(
            f"{len(files)} files in {path}, none of them speech as audio alone (03-01-…): unpack Audio_Speech_Actors_01-24 there"
        )
    return clips
