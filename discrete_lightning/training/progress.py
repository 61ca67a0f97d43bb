"""How much of a run is over, from Lightning's own counters: a resumed run continues exactly with no saved state."""

from lightning.pytorch import Trainer

from discrete_lightning.training._lightning_private import batches_begun


def progress(trainer: Trainer, window: int = 1, is_over: bool = False) -> float:
    """Share of the training that is over, in [0, 1], at the start of a batch; constant within `window` batches.

    By epochs, or by optimiser steps where `max_steps` ends the training sooner (global_step and max_steps count those of all
    optimisers alike). Where the number of batches of an epoch is not known and there is no `max_steps`, it changes
    once an epoch.

    Args:
        trainer: of the run.
        window: batches of one step of the optimiser.
        is_over: whether the last batch that has begun is over, as in a validation; then it counts, too.

    Raises:
        ValueError: if the trainer has neither max_epochs nor max_steps.
    """
    steps = trainer.global_step / trainer.max_steps if trainer.max_steps > 0 else 0.0
    if trainer.max_epochs is None or trainer.max_epochs < 1:
        if trainer.max_steps < 0:
            raise ValueError("the length of the run is unknown: set trainer.max_epochs or trainer.max_steps")
        return min(1.0, steps)
    within = max(0, batches_begun(trainer) - (0 if is_over else 1))
    batches = max(1, trainer.num_training_batches)
    epochs = (trainer.current_epoch + (within - within % window) / batches) / trainer.max_epochs
    return min(1.0, max(steps, epochs))
