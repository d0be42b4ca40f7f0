"""The learning rate: the paper's steps, or one cycle."""

import math

from pipeline.params import Train


def learning_rate(epoch: float, p: Train) -> float:
    """Rate after `epoch` epochs, counted from 0 and with fractions within an epoch.

    `steps` (the paper: 1e-4 for 50 epochs, then ×e^−0.15 every 20): constant for `hold_epochs`,
    then ×e^−decay every `decay_epochs`. `one_cycle`: linearly up to `learning_rate` over
    `warm_up_epochs`, then down to nothing along half a cosine (Smith and Topin, 2019).
    """
    if p.schedule == "one_cycle":
        # The first step's rate is not zero: the ramp counts from a hundredth.
        if epoch < p.warm_up_epochs:
            return p.learning_rate * max(0.01, epoch / p.warm_up_epochs)
        done = (epoch - p.warm_up_epochs) / max(1, p.epochs - p.warm_up_epochs)
        return p.learning_rate * (1 + math.cos(math.pi * min(1.0, done))) / 2
    if epoch < p.hold_epochs:
        return p.learning_rate
    steps = (int(epoch) - p.hold_epochs) // p.decay_epochs + 1
    return p.learning_rate * math.exp(-p.decay * steps)
