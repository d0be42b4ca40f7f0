"""Tiling: the early blocks of an int8 model run slab by slab over time.

The tensors of the first blocks are the largest and are needed for a moment only. Run on a few rows
at a time they never exist whole; the weights are shared, and the result is one plain flatbuffer that
equals the original bit for bit. The idea is the patch-based inference of Lin et al., MCUNetV2 (2021),
here along one axis, and by keeping rows where MCUNetV2 computes them again.

The modules, each over those before it:

rows : which rows of its input an operator needs for which rows of its output
source : the model to tile, and what its operators allow
schedule : a plan, and which rows each slab computes and reads by it
rewrite : the schedule as a graph of operators, with the cuts, joins and borders between slabs
search : which plans are worth it, estimated from such graphs

pipeline/mcu/tiling.py measures the chosen ones in TFLite Micro.
"""

from pipeline.tflite import flatbuffer, memory_plan
from pipeline.tflite.tiling.rewrite import Rewrite
from pipeline.tflite.tiling.schedule import TilingPlan
from pipeline.tflite.tiling.search import Estimate, Search
from pipeline.tflite.tiling.source import Source

__all__ = ["Estimate", "Search", "Source", "TilingPlan", "tile"]


def tile(content: bytes, plan: TilingPlan) -> bytes:
    """The tiled model, with a plan of its memory in the metadata.

    Raises
    ------
    ModelError
        The model cannot be tiled, or not by this plan.
    """
    rewrite = Rewrite(Source(content), plan)
    model = rewrite.model()
    memory_plan.attach(model, memory_plan.layout(memory_plan.lifetimes(rewrite.graph)).offsets)
    return flatbuffer.pack(model)
