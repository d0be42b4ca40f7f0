"""The paper's learning rate: constant for a while, then lower in steps."""

import math

from pipeline.params import Train


def learning_rate(epoch: int, p: Train) -> float:
    """Rate of `epoch`, counted from 0: constant for `hold_epochs`, then ×e^−decay every `decay_epochs`.

    The paper: 1e-4 for 50 epochs, then ×e^−0.15 every 20.
    """
    if epoch < p.hold_epochs:
        return p.learning_rate
    steps = (epoch - p.hold_epochs) // p.decay_epochs + 1
    return p.learning_rate * math.exp(-p.decay * steps)
