"""Training speed: clips a second of an epoch, beside the matrix-product peak measured in this run.

    make bench

The network is the paper's at 3 s, the clips are noise: speed does not depend on what they say.
Three multiply-accumulates are counted for each of the network's own: forward, and backward for
inputs and weights. The first epoch compiles and is left out.
"""

import time

import numpy as np
import tensorflow as tf

from pipeline import params
from pipeline.models import lightsernet, training
from pipeline.models.training import Data
from pipeline.params import Train

CLIPS, FRAMES, BINS, CLASSES = 256, 184, 40, 7
EPOCHS = 4


def matrix_peak() -> float:
    """Multiply-accumulates a second of a large float32 product in TensorFlow, best of five."""
    n = 3000
    a = tf.random.normal((n, n))
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        tf.linalg.matmul(a, a).numpy()
        best = min(best, time.perf_counter() - start)
    return n**3 / best


def seconds_per_epoch(p: Train) -> list[float]:
    """Wall time of each epoch but the first."""
    rng = np.random.default_rng(0)
    data = Data(
        rng.standard_normal((CLIPS, FRAMES, BINS, 1)).astype(np.float32),
        rng.integers(0, CLASSES, CLIPS),
    )
    ends: list[float] = []
    training.fit(
        data, None, None, CLASSES, params.load().model, p, seed=0, version="",
        on_epoch=lambda: ends.append(time.perf_counter()),
    )  # fmt: skip
    return list(np.diff(ends))


def main() -> None:
    peak = matrix_peak()
    macs = 3 * lightsernet.macs(lightsernet.build(FRAMES, BINS, CLASSES, params.load().model))
    print(f"yardstick: {peak / 1e9:.0f} G multiply-accumulates a second, float32 matrix product")
    print(f"{'precision':10} {'s per epoch':>14} {'clips/s':>8} {'of the yardstick':>17}")
    for precision in ("float32", "bfloat16"):
        settings = params.load().train.model_copy(
            update={"precision": precision, "epochs": EPOCHS, "batch_size": 32}
        )
        times = seconds_per_epoch(settings)
        best = min(times)
        spread = f"{best:.2f} to {max(times):.2f}"
        share = macs * CLIPS / best / peak
        print(f"{precision:10} {spread:>14} {CLIPS / best:8.0f} {share:17.0%}")


if __name__ == "__main__":
    main()
