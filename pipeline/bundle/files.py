"""The deployable bundle: a model and its front end as C files, with what is needed to check them."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.audio.front_end import features
from pipeline.bundle import c_code, constants, schedule
from pipeline.bundle.budgeted import Budgeted
from pipeline.bundle.config import configure
from pipeline.bundle.footprint import CMSIS_OR_NOT, WAYS, flash, ram
from pipeline.mcu.arena import Micro
from pipeline.mcu.cmsis import FULL_SCALE
from pipeline.mcu.front_end import DeviceFrontEnd
from pipeline.mcu.stream import memory
from pipeline.tflite import graph
from pipeline.tflite.card import Card
from pipeline.tflite.int8 import Int8Model
from pipeline.tflite.streaming import Streamed

_STREAM = "sernet_stream"  # what the names of files begin with that only a stream needs
_FILES = sorted(
    file.name for file in c_code.TEMPLATES.iterdir() if file.suffix in (".c", ".h", ".j2")
)
# Names of operators that are not those of the schema in other letters.
_METHODS = {"PADV2": "PadV2", "CUMSUM": "CumSum", "BATCH_MATMUL": "BatchMatMul"}


@dataclass(frozen=True)
class Golden:
    """A clip and what becomes of it.

    audio : int16 samples [shape=(n,)]
    features : of the pipeline's own front end [shape=(frames, bins)], float32
    input : the same as the network takes it, int8
    deferred : the input where the audio is not kept, as CMSIS-DSP computes it, int8
    output : TFLite Micro's for that input [shape=(classes,)], int8
    network_bytes, audio_bytes : of flash in C with pointers of 32 bits, for a test of the network, and
        more for one of the front end
    """

    name: str
    audio: np.ndarray
    features: np.ndarray
    input: np.ndarray
    deferred: np.ndarray
    output: np.ndarray

    @property
    def network_bytes(self) -> int:
        pointers_and_name = 4 * 3 + len(self.name.encode()) + 1
        return pointers_and_name + self.input.nbytes + self.output.nbytes

    @property
    def audio_bytes(self) -> int:
        pointers_and_length = 4 * 4
        arrays = (self.audio, self.features, self.deferred)
        return pointers_and_length + sum(array.nbytes for array in arrays)


def add_method(operator: str) -> str:
    """The method of TFLite Micro's MicroMutableOpResolver that adds an operator of the schema."""
    words = operator.split("_")
    name = "".join(word if word[0].isdigit() else word.capitalize() for word in words)
    return f"Add{_METHODS.get(operator, name)}"


def add_methods(contents: Sequence[bytes]) -> list[str]:
    """The methods for all operators of flatbuffers, each once, sorted."""
    names = {name for content in contents for name in graph.read(content).histogram()}
    return sorted(map(add_method, names))


def golden(name: str, audio: np.ndarray, model: bytes, card: Card, arena_bytes: int) -> Golden:
    """What becomes of `audio` [shape=(n,)], int16, in the pipeline's front end and TFLite Micro.

    Raises
    ------
    AudioError
        The clip's middle is silence.
    MemoryError
        The model does not run in `arena_bytes`.
    """
    p = card.feature_params()
    x = features(audio.astype(np.float32) / FULL_SCALE, card.input_len, card.sample_rate, p)
    runner = Int8Model(model)
    q = runner.quantized(x[np.newaxis, ..., np.newaxis])
    device = DeviceFrontEnd("f32", card.input_len, card.sample_rate, p)
    return Golden(
        name,
        audio,
        features=x,
        input=q[0, ..., 0],
        deferred=device.quantized(audio, *runner.input_quantization, mode="deferred"),
        output=Micro(model, arena_bytes).run(q)[0],
    )


def write(
    folder: Path,
    model: bytes,
    card: Card,
    budgeted: Budgeted,
    clips: Mapping[str, np.ndarray],
    streamed: Streamed | None = None,
    least_level: float = 0.0,
) -> None:
    """Fill `folder` with the bundle.

    Parameters
    ----------
    folder : is made; files of the same names are replaced
    model : int8 flatbuffer, plain or tiled
    card : of the model
    budgeted : what `evaluate` found that it takes
    clips : int16 audio [shape=(n,)] by name, for the golden vectors
    streamed : the same network in parts, if the bundle is to have it
    least_level : of a clip that is no silence, in steps of int16; 0: any but of zeros alone

    Raises
    ------
    ModelError
        Card and model do not belong together.
    ParamsError
        The device's front end has no such features.
    AudioError
        A clip is silence.
    """
    tables = constants.make(card.sample_rate, card.feature_params())
    config = configure(model, card, budgeted, least_level)
    assert clips, "a bundle without golden vectors cannot be checked"
    clips_in_c = [golden(name, y, model, card, budgeted.arena_bytes) for name, y in clips.items()]
    stream = None if streamed is None else schedule.tables(streamed, memory(streamed))
    contents = [model] if stream is None else [model, *stream.models]
    folder.mkdir(parents=True, exist_ok=True)
    files = [file for file in _FILES if stream or not file.startswith(_STREAM)]
    for name in files:
        if not name.endswith(".j2"):
            shutil.copyfile(c_code.TEMPLATES / name, folder / name)
    c_code.fill(
        [name for name in files if name.endswith(".j2")],
        folder,
        config=config,
        budgeted=budgeted,
        tables=tables,
        model=model,
        labels=card.labels,
        card=asdict(card),
        operators=add_methods(contents),
        golden=clips_in_c,
        stream=stream,
        flash={how: flash(model, card, cmsis) for how, cmsis in CMSIS_OR_NOT.items()},
        ram={
            way: {how: ram(config, way, cmsis, stream) for how, cmsis in CMSIS_OR_NOT.items()}
            for way in WAYS
            if stream or way != "stream"
        },
    )
