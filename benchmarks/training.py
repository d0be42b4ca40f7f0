"""Training speed beside the reference implementation's way and the machine's own peak.

    make bench
    python -m benchmarks.training --epochs 60    # a run's own number of them

The network is the paper's at 3 s. The clips are noise with something of each class in it, so that a way
which learns less shows it in UA: over all folds, each clip told by the last epoch of the fold without it.
All ways train the same folds for the same epochs at one rate and look at the test fold after each; all
times hold everything from an empty process: the import of TensorFlow, its graphs, a cold cache, which
weigh less the more epochs there are. bfloat16 is slow where the processor has to emulate it. Memory is
what all processes of a way hold together at most, each page that they share counted once. Three
multiply-accumulates are counted for each of the network's own: forward, and backward for inputs and
weights.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from pipeline import THREADS, params
from pipeline.dataset import Data
from pipeline.errors import SernetError, run
from pipeline.models import files, folds, lightsernet
from pipeline.models.folds import Job
from pipeline.models.inference import predict
from pipeline.models.training import Recipe
from pipeline.scoring import scores

CLIPS, FRAMES, BINS, CLASSES = 320, 184, 40, 7
FOLDS, EPOCHS = 4, 12  # so many epochs where no other number is asked for
PRECISIONS = "float32", "bfloat16"
RATE = 1e-3  # of Adam, all the time
HINT = 0.12  # how far a class moves a bin, in deviations of the noise
ROUNDS = 2
LOOK = 0.5  # seconds between two looks at the memory


@dataclass(frozen=True)
class Way:
    """What one way of training came to.

    seconds : of the quickest round
    bytes : of memory, of the round that took most
    ua : in percent
    """

    seconds: float
    bytes: int
    ua: float


def matrix_peak() -> float:
    """Multiply-accumulates a second of a large float32 product on all cores, best of five."""
    n = 3000
    code = (
        "import tensorflow as tf, time\n"
        f"a = tf.random.normal(({n}, {n})); best = 1e9\n"
        "for _ in range(5):\n"
        "    start = time.perf_counter(); tf.linalg.matmul(a, a).numpy()\n"
        "    best = min(best, time.perf_counter() - start)\n"
        "print(best)\n"
    )
    # A process of its own: this one computes on one thread.
    return n**3 / float(printed([sys.executable, "-c", code]))


def environment() -> dict[str, str]:
    """For a command that may use all cores; the pipeline itself asks for one thread."""
    return {name: value for name, value in os.environ.items() if name not in THREADS}


def printed(command: list[str]) -> str:
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=environment())
    return done.stdout


def held(process: psutil.Process) -> int:
    """Bytes that a process and its children hold, each page that they share counted once."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_full_info().pss
        except psutil.NoSuchProcess:  # it has just ended
            continue
    return total


def timed(module: str, folder: Path, *arguments: object) -> Way:
    """Train as `module` does on what `write` left in `folder`."""
    command = [sys.executable, "-m", module, str(folder), *map(str, arguments)]
    answer = folder / "answer.json"
    start, most = time.perf_counter(), 0
    with psutil.Popen(command, stdout=subprocess.DEVNULL, env=environment()) as process:
        while True:
            try:
                process.wait(LOOK)
                break
            except psutil.TimeoutExpired:
                most = max(most, held(process))
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SernetError(
            f"{module} ended with status {process.returncode}: see what it said above"
        )
    said = np.array(json.loads(answer.read_text()))
    y = np.load(folder / "labels.npy").argmax(axis=1)
    return Way(seconds, most, scores.summary(y, said)["ua"])


def write(folder: Path) -> None:
    """Clips, their labels and the untrained network, as the reference reads them."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, CLIPS)
    hints = HINT * rng.standard_normal((CLASSES, 1, BINS, 1))
    x = (rng.standard_normal((CLIPS, FRAMES, BINS, 1)) + hints[y]).astype(np.float32)
    (folder / "clips").mkdir()
    for number, clip in enumerate(x):
        np.save(folder / "clips" / f"{number:04}.npy", clip)
    np.save(folder / "labels.npy", np.eye(CLASSES, dtype=np.float32)[y])
    files.save(lightsernet.build(FRAMES, BINS, CLASSES, params.load().model), folder / "network.h5")


def sides(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> folds.Sides:
    """All clips but those of `out`, which are looked at after each epoch."""
    return Data(x[~out], y[~out]), None, Data(x[out], y[out])


def ours(folder: Path, epochs: int, precision: str) -> None:
    """The same folds and epochs through the pipeline; what it says of each clip goes to answer.json."""
    x = np.stack([np.load(file) for file in sorted((folder / "clips").iterdir())])
    y = np.load(folder / "labels.npy").argmax(axis=1)
    p = params.load()
    changes = {"epochs": epochs, "batch_size": 32, "learning_rate": RATE, "schedule": "steps", "hold_epochs": epochs, "precision": precision}  # fmt: skip
    recipe = Recipe(p.sample_rate, p.features, p.model, p.train.model_copy(update=changes), p.augment)  # fmt: skip
    parts = [np.arange(CLIPS) % FOLDS == fold for fold in range(FOLDS)]
    jobs = [Job(f"fold {n}", partial(sides, x, y, out), n) for n, out in enumerate(parts)]
    network, said = lightsernet.build(FRAMES, BINS, CLASSES, p.model), np.empty_like(y)
    for out, outcome in zip(parts, folds.train(jobs, CLASSES, recipe), strict=True):
        network.set_weights(outcome.weights)
        said[out] = predict(network, x[out]).argmax(axis=1)
    (folder / "answer.json").write_text(json.dumps(said.tolist()))


def main(epochs: int) -> None:
    macs = 3 * lightsernet.macs(lightsernet.build(FRAMES, BINS, CLASSES, params.load().model))
    steps = CLIPS * (FOLDS - 1) * epochs
    commands: dict[str, tuple[str, list[object]]] = {
        "reference": ("benchmarks.reference", [FOLDS, epochs, RATE]),
        **{
            f"ours, {name}": ("benchmarks.training", ["--epochs", epochs, "--precision", name])
            for name in PRECISIONS
        },
    }
    rounds: dict[str, list[Way]] = {name: [] for name in commands}
    for _ in range(ROUNDS):  # in turns, so that a change of the machine's pace touches both
        for name, ways in rounds.items():
            with tempfile.TemporaryDirectory() as name_of_folder:
                folder = Path(name_of_folder)
                write(folder)
                os.environ["SERNET_CACHE"] = str(folder / "cache")
                module, arguments = commands[name]
                ways.append(timed(module, folder, *arguments))
    peak = matrix_peak()
    best = {
        name: Way(min(w.seconds for w in ways), max(w.bytes for w in ways), ways[-1].ua)
        for name, ways in rounds.items()
    }
    print(f"{FOLDS} folds of {CLIPS} clips, {epochs} epochs, batches of 32")
    print(f"peak of a float32 matrix product: {peak / 1e9:.0f} G multiply-accumulates a second")
    print(
        f"{'':14} {'seconds':>8} {'ratio':>6} {'clips/s':>8} {'of the peak':>12} {'memory, GiB':>12} {'UA %':>6}"
    )
    for name, way in best.items():
        print(
            f"{name:14} {way.seconds:8.1f} {best['reference'].seconds / way.seconds:6.2f} {steps / way.seconds:8.0f} "
            f"{macs * steps / way.seconds / peak:12.0%} {way.bytes / 2**30:12.1f} {way.ua:6.2f}"
        )
    print("ratio: how many times as long the reference takes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Training speed beside the reference's way.")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each fold")
    # What follows is how it calls itself, for our ways.
    parser.add_argument("folder", type=Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--precision", choices=PRECISIONS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    run(
        partial(ours, given.folder, given.epochs, given.precision)
        if given.folder
        else partial(main, given.epochs)
    )
