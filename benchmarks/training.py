"""Training speed beside the reference implementation's way and the machine's own peak.

    make bench

The network is the paper's at 3 s, the clips are noise: speed does not depend on what they say. Both
ways train the same folds for the same epochs and look at the test fold after each; both times hold
everything from an empty process: the import of TensorFlow, its graphs, a cold cache. Three
multiply-accumulates are counted for each of the network's own: forward, and backward for inputs and
weights.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from pipeline import THREADS, params
from pipeline.dataset import Data
from pipeline.models import files, folds, lightsernet
from pipeline.models.folds import Job
from pipeline.models.training import Recipe

CLIPS, FRAMES, BINS, CLASSES = 320, 184, 40, 7
FOLDS, EPOCHS = 4, 12
ROUNDS = 2


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


def printed(command: list[str]) -> str:
    """What a command prints that may use all cores; the pipeline itself asks for one thread."""
    env = {name: value for name, value in os.environ.items() if name not in THREADS}
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=env).stdout


def write(folder: Path) -> None:
    """Clips of noise, their labels and the untrained network, as the reference reads them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((CLIPS, FRAMES, BINS, 1)).astype(np.float32)
    y = rng.integers(0, CLASSES, CLIPS)
    (folder / "clips").mkdir()
    for number, clip in enumerate(x):
        np.save(folder / "clips" / f"{number:04}.npy", clip)
    np.save(folder / "labels.npy", np.eye(CLASSES, dtype=np.float32)[y])
    files.save(lightsernet.build(FRAMES, BINS, CLASSES, params.load().model), folder / "network.h5")


def sides(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> folds.Sides:
    """All clips but those of `out`, which are looked at after each epoch."""
    return Data(x[~out], y[~out]), None, Data(x[out], y[out])


def ours(folder: Path) -> None:
    """The same folds and epochs through the pipeline."""
    x = np.stack([np.load(file) for file in sorted((folder / "clips").iterdir())])
    y = np.load(folder / "labels.npy").argmax(axis=1)
    p = params.load()
    train = p.train.model_copy(update={"epochs": EPOCHS, "batch_size": 32})
    recipe = Recipe(p.sample_rate, p.features, p.model, train, p.augment)
    parts = [np.arange(CLIPS) % FOLDS == fold for fold in range(FOLDS)]
    jobs = [Job(f"fold {n}", partial(sides, x, y, out), n) for n, out in enumerate(parts)]
    list(folds.train(jobs, CLASSES, recipe))


def main() -> None:
    macs = 3 * lightsernet.macs(lightsernet.build(FRAMES, BINS, CLASSES, params.load().model))
    steps = CLIPS * (FOLDS - 1) * EPOCHS
    best = {"reference": float("inf"), "ours": float("inf")}
    for _ in range(ROUNDS):  # in turns, so that a change of the machine's pace touches both
        for name in best:
            with tempfile.TemporaryDirectory() as name_of_folder:
                folder = Path(name_of_folder)
                write(folder)
                os.environ["SERNET_CACHE"] = str(folder / "cache")
                command = {
                    "reference": ["benchmarks.reference", str(folder), str(FOLDS), str(EPOCHS)],
                    "ours": ["benchmarks.training", str(folder)],
                }[name]
                start = time.perf_counter()
                printed([sys.executable, "-m", *command])
                best[name] = min(best[name], time.perf_counter() - start)
    peak = matrix_peak()
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{FOLDS} folds of {CLIPS} clips, {EPOCHS} epochs, batches of 32")
    print(f"peak of a float32 matrix product: {peak / 1e9:.0f} G multiply-accumulates a second")
    print(f"{'':10} {'seconds':>8} {'clips/s':>8} {'of the peak':>12}")
    for name, seconds in best.items():
        print(
            f"{name:10} {seconds:8.1f} {steps / seconds:8.0f} {macs * steps / seconds / peak:12.0%}"
        )
    print(f"ours takes {best['ours'] / best['reference']:.2f} of the reference's time")
    print(f"largest process: {memory:.1f} GiB")


if __name__ == "__main__":
    ours(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
