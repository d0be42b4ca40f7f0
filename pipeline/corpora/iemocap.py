"""IEMOCAP (Busso et al., Language Resources and Evaluation 2008), its four usual classes.

Five sessions, a woman and a man in each. A dialog is named by session, the actor who wears the
markers, and the kind of scene (`Ses01F_impro01`); a turn by its dialog and, in its last part, the
letter of who speaks (`Ses01F_impro01_M003` is the man's). The speaker is in that last part: the
dialog's prefix names the same actor for the turns of both.
"""

import re
from pathlib import Path

from pipeline.corpora import Clip
from pipeline.errors import CorpusError, listed

# Excitement is merged into happiness, as in the paper; turns with another label, or without a
# majority, are left out.
EMOTIONS = {
    "ang": "anger",
    "hap": "happiness",
    "exc": "happiness",
    "neu": "neutral",
    "sad": "sadness",
}
LABELS = sorted(set(EMOTIONS.values()))
SUBSETS = {"impro": "improvised", "script": "scripted"}
TURN = re.compile(
    r"(?P<dialog>Ses0(?P<session>[1-5])[FM]_(?P<scene>impro|script)\w*)_(?P<gender>[FM])\w*\d+"
)
# The line that sums up a turn; lines of comments (%) and of single raters (C-E1: …) are others.
SUMMARY = re.compile(r"\[[\d.]+ - [\d.]+\]\t(?P<turn>\S+)\t(?P<emotion>\w+)\t\[.*\]")
PAPER_KEY = 6  # characters of a turn's name by which the reference implementation makes its folds
TREE = """\
  {path}/
    Session1/
      dialog/EmoEvaluation/Ses01F_impro01.txt
      sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav
      ...
    ...
    Session5/"""


def _sessions(path: Path) -> list[Path]:
    sessions = sorted(path.glob("Session[1-5]"))
    lacking = [
        folder
        for number in range(1, 6)
        for folder in (
            path / f"Session{number}/dialog/EmoEvaluation",
            path / f"Session{number}/sentences/wav",
        )
        if not folder.is_dir()
    ]
    if lacking:
        raise CorpusError(
            f"no IEMOCAP at corpus.path: {len(lacking)} of 10 folders are not there: {listed(lacking, 2)}; its licence is had "
            f"from the University of Southern California (SAIL), and it is expected as\n{TREE.format(path=path)}"
        )
    return sessions


def read_evaluation(file: Path) -> dict[str, str]:
    """Emotion of each turn of a dialog, by the turn's name, from one EmoEvaluation file."""
    lines = file.read_text("utf-8", errors="replace").splitlines()
    found = {}
    for line in lines:
        if match := SUMMARY.fullmatch(line.strip()):
            found[match["turn"]] = match["emotion"]
    return found


def find(path: Path, workspace: Path) -> list[Clip]:
    """The turns of the four classes in all five sessions."""
    clips, strange, absent = [], [], []
    for folder in _sessions(path):
        for evaluation in sorted((folder / "dialog/EmoEvaluation").glob("Ses*.txt")):
            for turn, emotion in read_evaluation(evaluation).items():
                if emotion not in EMOTIONS:
                    continue
                match = TURN.fullmatch(turn)
                if match is None:
                    strange.append(f"{evaluation.name}: {turn}")
                    continue
                file = folder / "sentences/wav" / match["dialog"] / f"{turn}.wav"
                if not file.is_file():
                    absent.append(file.relative_to(path))
                    continue
                clips.append(
                    Clip(
                        turn,
                        file,
                        file.relative_to(path).as_posix(),
                        label=EMOTIONS[emotion],
                        speaker=f"{match['session']}{match['gender']}",
                        session=match["session"],
                        subset=SUBSETS[match["scene"]],
                        paper_key=turn[:PAPER_KEY],
                    )
                )
    if strange:
        raise CorpusError(
            f"{len(strange)} turns in {path} are not named as IEMOCAP's, for instance Ses01F_impro01_M003: {listed(strange, 3)}"
        )
    if absent:
        raise CorpusError(
            f"{len(absent)} turns have a label but no recording in {path}: {listed(absent, 3)}; unpack the sessions anew"
        )
    if not clips:
        raise CorpusError(
            f"no turn with a label in {path}/Session*/dialog/EmoEvaluation; lines like `[6.29 - 8.23]\\tSes01F_impro01_F000\\tneu\\t[…]` are expected"
        )
    return clips
