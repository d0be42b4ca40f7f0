"""What the network takes of a board, plain, tiled and in parts, for clips of several lengths.

    python -m benchmarks.memory            # measures, and writes experiments/memory.json

Memory depends on the shapes and hardly on the weights, so the network of params.yaml is measured with
random ones. `evaluate` holds each variant to the plain model's bits. `sernet memory` shows the table.
"""

import json

import numpy as np
from tqdm import tqdm

from pipeline import params
from pipeline.audio import spectra
from pipeline.errors import ModelError, run
from pipeline.mcu import boards, tiling, variants
from pipeline.mcu.budget import Need
from pipeline.mcu.variants import Surroundings
from pipeline.models import lightsernet
from pipeline.models.folding import classifier_as_convolution, fold
from pipeline.outputs import staged
from pipeline.params import Params
from pipeline.reporting.memory import FILE
from pipeline.tflite import converter, graph

SECONDS = (3, 7)
CLASSES = 7
SMALL = "nano33ble"  # the board whose room tiling is asked for; another row has the smallest arena
CLIPS = 8


def model(p: Params, seconds: float) -> tuple[bytes, np.ndarray]:
    """An int8 model of `seconds` with random weights, and the clips that set its ranges."""
    frames = spectra.frames(round(seconds * p.sample_rate), p.features)
    bins = p.features.bins
    rng = np.random.default_rng(p.seed)
    network = lightsernet.build(frames, bins, CLASSES, p.model)
    network.set_weights([rng.normal(w.mean(), 0.05, w.shape) if w.ndim > 1 else w for w in network.get_weights()])  # fmt: skip
    clips = rng.uniform(-p.features.clip, p.features.clip, (CLIPS, frames, bins, 1)).astype("f4")
    return converter.to_int8(classifier_as_convolution(fold(network)), clips), clips


def row(seconds: float, name: str, need: Need, macs: int, plain: Need, plain_macs: int) -> dict:
    """A row of the table."""
    return {
        "seconds": seconds,
        "variant": name,
        "arena_bytes": need.arena_bytes,
        "ram_bytes": need.ram_bytes,
        "flash_bytes": need.flash_bytes,
        "model_bytes": need.flash[0].bytes,
        "macs": macs,
        "extra_macs_percent": round(100 * (macs / plain_macs - 1), 3),
        "extra_model_bytes": need.flash[0].bytes - plain.flash[0].bytes,
        "boards": [key for key, board in boards.load().items() if boards.fits(board, need.sizes)],
    }


def measure(p: Params, seconds: float) -> list[dict]:
    """The rows of one length of clip."""
    content, _ = model(p, seconds)
    around = Surroundings(p.evaluate.model_copy(update={"tiling": "auto"}), p.features, seconds, p.sample_rate)  # fmt: skip
    small = variants.measure(content, boards.get(SMALL), around, boards.get(SMALL).ram)
    if small.stream_memory is None:
        raise ModelError(f"no streaming for clips of {seconds:g} s: {small.refused}")
    plain, streaming = small.needs["plain"], small.needs["streaming"]
    macs = small.deployed.plain.macs
    rows = [row(seconds, "plain", plain, macs, plain, macs)]
    smallest = tiling.auto(content, 0)
    # Where the small board needs all the tiling that there is, the two are one.
    for tiled in {tiled.content: tiled for tiled in (small.deployed, smallest)}.values():
        need = around.need(
            "tiled", tiled.costs.arena.bytes, len(tiled.content), graph.read(tiled.content)
        )
        rows.append(
            row(seconds, f"tiled, {tiled.slabs} slabs", need, tiled.costs.macs, plain, macs)
        )
    rows.append(row(seconds, "streaming", streaming, small.stream_memory.macs, plain, macs))
    return rows


def main() -> None:
    p = params.load()
    rows = [each for seconds in tqdm(SECONDS, unit="length") for each in measure(p, seconds)]
    with staged(FILE) as (partial,):
        content = {"level": p.evaluate.level, "boards": list(boards.load()), "rows": rows}
        partial.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    print(f"wrote {FILE}")


if __name__ == "__main__":
    run(main)
