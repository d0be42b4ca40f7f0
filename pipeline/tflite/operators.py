"""What an int8 model may be made of: known operators, and eight bits from input to output."""

from collections import Counter

from pipeline.errors import ModelError, listed
from pipeline.tflite import graph
from pipeline.tflite.graph import Graph

_LAYER = "a layer of the network"
_SLABS = "cuts and joins what is computed slab by slab"

# Operators that run with the same bits in TFLite Micro and in LiteRT's reference kernels, but for one,
# by what they are for. Each operator that is not here would be one more kernel in flash, unproved.
ALLOWED = {
    "CONV_2D": _LAYER,
    "DEPTHWISE_CONV_2D": _LAYER,
    "AVERAGE_POOL_2D": _LAYER,
    "MAX_POOL_2D": _LAYER,
    "CONCATENATION": f"{_LAYER}, and {_SLABS}",
    "MEAN": _LAYER,
    "RESHAPE": _LAYER,
    "SOFTMAX": _LAYER,
    # Rounded differently by the two: `evaluate` stops at a step of difference in the clips it compares.
    "FULLY_CONNECTED": _LAYER,
    "SLICE": _SLABS,
    "STRIDED_SLICE": _SLABS,
    "SPLIT": _SLABS,
    "SPLIT_V": _SLABS,
    "PAD": _SLABS,
    "PADV2": _SLABS,
}

# Operators a pure eight-bit network has no use for: each stands for a scale that could be shared,
# or for a tensor that is not in eight bits.
NEEDLESS = ("QUANTIZE", "DEQUANTIZE", "CAST")

# Constants also hold biases, axes and shapes.
_CONSTANT_TYPES = ("INT8", "INT32", "INT64")


def problems(read: Graph) -> list[str]:
    """What keeps a graph from the device, a sentence each; empty for one that passes."""
    histogram = read.histogram()
    needless = [name for name in histogram if name in NEEDLESS]
    unknown = {name: n for name, n in histogram.items() if name not in (*ALLOWED, *NEEDLESS)}
    wider = [
        tensor
        for tensor in read.tensors
        if tensor.type not in (_CONSTANT_TYPES if tensor.constant else ("INT8",))
    ]
    found = []
    if wider:
        types = ", ".join(
            f"{n} {name}" for name, n in sorted(Counter(t.type for t in wider).items())
        )
        found.append(
            f"{len(wider)} tensors are not in eight bits ({types}): {listed((t.name for t in wider), 3)}; "
            "convert with int8 inputs, outputs and operators only"
        )
    if needless:
        found.append(
            f"the int8 graph has {', '.join(needless)}: neighbouring layers do not share a scale; "
            "give them one quantizer, or leave quantization to post-training conversion"
        )
    if unknown:
        counted = ", ".join(f"{name} ({n})" for name, n in unknown.items())
        found.append(
            f"operators that are not allowed: {counted}; express them by {', '.join(ALLOWED)}"
        )
    return found


def check_int8(content: bytes) -> None:
    """Hold a flatbuffer to the allowed operators and to eight bits.

    Raises
    ------
    ModelError
        It is not a flatbuffer of TFLite, has an operator that is not allowed or only moves between
        scales, or a tensor that is not in eight bits; the message names each.
    """
    if found := problems(graph.read(content)):
        raise ModelError(". ".join(found))
