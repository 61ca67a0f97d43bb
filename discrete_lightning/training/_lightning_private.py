"""Everything that the package takes from Lightning's private interface, in one place; tests/test_private_interfaces.py checks
it.
"""

from collections.abc import Callable
from typing import Any

from lightning.fabric.utilities.cloud_io import _load
from lightning.pytorch import Trainer
from lightning.pytorch.cli import _InstantiatorFn as LightningInstantiator
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.utilities.model_helpers import _restricted_classmethod as class_only_method
from torch.utils.data import DataLoader, DistributedSampler

__all__ = [
    "LightningInstantiator",
    "batches_begun",
    "change_hparams",
    "class_of_config",
    "class_only_method",
    "dump_checkpoint",
    "read_values",
    "rewind_batches",
    "rows_of_batch",
]


def class_of_config() -> dict[str, Any]:
    """What LightningCLI looks for among the hyper-parameters in a checkpoint of a model whose class its config names."""
    given = _given_hyperparameters.get() or {}
    return {key: value for key, value in given.items() if key == "_class_path"}


def read_values(checkpoint: Any, weights_only: bool) -> dict[str, Any]:
    """What a checkpoint (a path, URL or file object) holds beside tensors, which have no values here and are not read."""
    start = checkpoint.tell() if hasattr(checkpoint, "tell") else None
    values: dict[str, Any] = _load(checkpoint, map_location="meta", weights_only=weights_only)
    if start is not None:
        checkpoint.seek(start)
    return values


def change_hparams(module: Any, change: Callable[[Any], Any]) -> None:
    """Puts `change(hparams)` in the place of the hyper-parameters of a model or data module, for loggers and checkpoints."""
    for name in ("_hparams", "_hparams_initial"):
        kept = getattr(module, name, None)
        if isinstance(kept, dict):
            kept.update(change(dict(kept)))


def batches_begun(trainer: Trainer) -> int:
    """Number of training batches of this epoch that the loop has fetched, the current one included; restored on resuming."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.ready


def rows_of_batch(trainer: Trainer, loader: int, batch: int) -> list[int] | None:
    """The numbers, in the data set, of the examples of a batch to predict; None where the data have none."""
    combined = trainer.predict_loop._combined_loader
    data = None if combined is None else combined.flattened[loader]
    if not isinstance(data, DataLoader):
        return None
    if data.batch_sampler is None and isinstance(data.sampler, DistributedSampler):  # batch_size=None
        return [batch * data.sampler.num_replicas + data.sampler.rank]
    seen: list[list[int]] = getattr(data.batch_sampler, "seen_batch_indices", [])
    numbers = seen[batch] if batch < len(seen) else None
    return numbers if numbers and all(isinstance(number, int) for number in numbers) else None


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
