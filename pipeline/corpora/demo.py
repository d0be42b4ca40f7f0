"""The demo corpus: synthesized speech, made by the project itself from `recipe.yaml`."""

import random
from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.audio.espeak import Utterance, synthesize
from pipeline.corpora import Clip, emodb
from pipeline.errors import CorpusError

LABELS = emodb.LABELS
PROSODY = ("rate", "pitch", "range", "volume")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Voice(_Part):
    """Prosody in espeak-ng's units."""

    rate: float
    pitch: float
    range: float
    volume: float
    wordgap: int


class Emotion(Voice):
    """Factors on the neutral prosody; `wordgap` is added to it."""

    letter: str


class CorpusRecipe(_Part):
    """Which sentences, voices and rules of prosody make the corpus."""

    sentences: dict[str, str]
    speakers: dict[str, str]
    neutral: Voice
    emotions: dict[str, Emotion]
    spread: Annotated[float, Field(ge=0, lt=1)]
    versions: Annotated[int, Field(ge=1, le=26)]
    seed: int


def read_recipe(path: Path) -> CorpusRecipe:
    """Read `path/recipe.yaml`; CorpusError where it is missing or not a recipe."""
    file = path / "recipe.yaml"
    if not file.is_file():
        raise CorpusError(
            f"no demo corpus at corpus.path: looked for {file}; "
            "set corpus.path to data/corpora/demo, or corpus.name to the corpus that lies there"
        )
    try:
        return CorpusRecipe.model_validate(YAML(typ="safe").load(file))
    except YAMLError as error:
        raise CorpusError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise CorpusError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def utterances(recipe: CorpusRecipe) -> list[Utterance]:
    """What is said in each file of the corpus, and how."""
    said = []
    for speaker, voice in recipe.speakers.items():
        for code, text in recipe.sentences.items():
            for emotion in recipe.emotions.values():
                for version in range(recipe.versions):
                    name = f"{speaker}{code}{emotion.letter}{chr(ord('a') + version)}.wav"
                    # Seeded by the name: a change of the recipe moves only the clips it concerns.
                    chance = random.Random(f"{recipe.seed}/{name}")
                    value = {
                        key: getattr(recipe.neutral, key)
                        * getattr(emotion, key)
                        * (1 + chance.uniform(-recipe.spread, recipe.spread))
                        for key in PROSODY
                    }
                    said.append(
                        Utterance(
                            name=name,
                            text=text,
                            voice=voice,
                            rate=round(value["rate"]),
                            pitch=min(99, round(value["pitch"])),
                            range=min(99, round(value["range"])),
                            volume=min(100, round(value["volume"])),
                            wordgap=recipe.neutral.wordgap + emotion.wordgap,
                        )
                    )
    return said


def find(path: Path, workspace: Path) -> list[Clip]:
    """Render the recipe in `path` into `workspace`; its names are EMO-DB's, and so is the reader."""
    wav = workspace / "wav"
    wav.mkdir()
    synthesize(utterances(read_recipe(path)), wav)
    return emodb.find(workspace, workspace)
