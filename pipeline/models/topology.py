"""Which layer reads which, in a graph that uses each layer once."""

import tf_keras
from tf_keras import layers

from pipeline.errors import ModelError


def producers(model: tf_keras.Model) -> dict[str, list[layers.Layer]]:
    """For each layer the layers whose outputs it reads, in the order of its inputs.

    Raises
    ------
    ModelError
        A layer is used more than once.
    """
    found: dict[str, list[layers.Layer]] = {}
    for layer in model.layers:
        nodes = layer.inbound_nodes
        if len(nodes) != 1:
            raise ModelError(
                f"layer {layer.name} is used {len(nodes)} times, expected a graph that uses each layer once"
            )
        found[layer.name] = [parent.layer for parent in nodes[0].parent_nodes]
    return found


def consumers(model: tf_keras.Model) -> dict[str, list[layers.Layer]]:
    """For each layer the layers that read its output."""
    found: dict[str, list[layers.Layer]] = {layer.name: [] for layer in model.layers}
    made_from = producers(model)
    for layer in model.layers:
        for parent in made_from[layer.name]:
            found[parent.name].append(layer)
    return found
