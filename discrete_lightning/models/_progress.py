"""How far a run is, from Lightning's own counters: a resumed run continues exactly with no saved state."""

import math

from lightning.pytorch import Trainer


def progress(trainer: Trainer, window: int = 1) -> float:
    """Share of the training that is over, in [0, 1], at the start of a batch; constant within `window` batches.

    By epochs; where the trainer has no `max_epochs`, by optimiser steps of `max_steps` (global_step and max_steps count those
    of all optimisers alike).
    """
    if trainer.max_epochs is None or trainer.max_epochs < 1:
        return min(1.0, trainer.global_step / max(1, trainer.max_steps))
    within = max(0, trainer.fit_loop.epoch_loop.batch_progress.current.ready - 1)
    return (trainer.current_epoch + (within - within % window) / trainer.num_training_batches) / trainer.max_epochs


def cosine(first: float, last: float, share: float) -> float:
    """From `first` to `last` along half a cosine, at `share` in [0, 1]."""
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
