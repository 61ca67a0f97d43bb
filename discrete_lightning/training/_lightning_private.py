"""Everything that the package takes from Lightning's private interface, in one place; tests/test_private_interfaces.py checks
it.
"""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import _InstantiatorFn as LightningInstantiator

__all__ = ["LightningInstantiator", "batches_begun", "dump_checkpoint", "rewind_batches"]


def batches_begun(trainer: Trainer) -> int:
    """Number of training batches of this epoch that the loop has fetched, the current one included; restored on resuming."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.ready


def rewind_batches(checkpoint: dict[str, Any], first: int) -> None:
    """Sets the batch counters in a checkpoint back to the start of batch `first` of the epoch."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    undone = progress["current"]["completed"] - first
    total = progress["total"]["completed"] - undone
    for name in ("ready", "started", "processed", "completed"):
        progress["current"][name], progress["total"][name] = first, total


def dump_checkpoint(trainer: Trainer) -> dict[str, Any]:
    """The checkpoint of this process, without waiting for the others as `Trainer.save_checkpoint` does."""
    return trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
