"""How far a run is, from Lightning's own counters: a resumed run continues exactly with no saved state."""

import math

from lightning.pytorch import Trainer

from discrete_lightning.training._lightning_private import batches_begun


def progress(trainer: Trainer, window: int = 1) -> float:
    """Share of the training that is over, in [0, 1], at the start of a batch; constant within `window` batches.

    By epochs, or by optimiser steps where `max_steps` ends the training sooner (global_step and max_steps count those of all
    optimisers alike).
    """
    steps = trainer.global_step / trainer.max_steps if trainer.max_steps > 0 else 0.0
    if trainer.max_epochs is None or trainer.max_epochs < 1:
        return min(1.0, steps)
    within = max(0, batches_begun(trainer) - 1)
    epochs = (trainer.current_epoch + (within - within % window) / trainer.num_training_batches) / trainer.max_epochs
    return min(1.0, max(steps, epochs))


def cosine(first: float, last: float, share: float) -> float:
    """From `first` to `last` along half a cosine, at `share` in [0, 1]."""
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
