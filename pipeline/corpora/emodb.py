"""EMO-DB, the Berlin Database of Emotional Speech (Burkhardt et al., Interspeech 2005).

File names are `SSTTTEv.wav`: two digits of speaker, three characters of text, the first letter of
the emotion's German name, a letter of version.
"""

import re
from pathlib import Path

from pipeline.corpora import Clip, wavs
from pipeline.errors import CorpusError, listed

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
LABELS = sorted(EMOTIONS.values())
NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[a-z]\d\d)(?P<emotion>[A-Z])(?P<version>[a-z]?)")
HOW_TO_GET = (
    "EMO-DB is free for research (Burkhardt et al. 2005): unpack its `wav` folder there, "
    "or set corpus.path to where it is"
)


def read_name(file: Path) -> tuple[str, str]:
    """Speaker and label from a file's name; CorpusError where it does not follow the scheme."""
    match = NAME.fullmatch(file.stem)
    if match is None:
        raise CorpusError(
            f"{file.name}: not a name of EMO-DB's scheme SSTTTEv.wav, for instance 03a01Fa.wav"
        )
    if match["emotion"] not in EMOTIONS:
        raise CorpusError(
            f"{file.name}: unknown emotion letter {match['emotion']!r}, expected one of {', '.join(EMOTIONS)}"
        )
    return match["speaker"], EMOTIONS[match["emotion"]]


def find(path: Path, workspace: Path) -> list[Clip]:
    """The clips in `path/wav`, or in `path` itself."""
    folder = path / "wav" if (path / "wav").is_dir() else path
    files = wavs(folder.glob("*"))
    if not files:
        raise CorpusError(
            f"no EMO-DB at corpus.path: looked for wav files in {path / 'wav'} and {path}; {HOW_TO_GET}"
        )
    clips, problems = [], []
    for file in files:
        try:
            speaker, label = read_name(file)
        except CorpusError as problem:
            problems.append(problem)
            continue
        clips.append(
            Clip(file.stem, file, file.relative_to(path).as_posix(), label=label, speaker=speaker)
        )
    if problems:
        raise CorpusError(f"{len(problems)} of {len(files)} files in {folder}: {listed(problems)}")
    return clips
