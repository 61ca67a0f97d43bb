"""Copies that weight averaging keeps (Lightning's WeightAveraging and EMAWeightAveraging): what is not averaged is copied."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from torch.optim.swa_utils import AveragedModel

from discrete_lightning.layers.private_state import copy_private_state


def sync_averaged_copies(trainer: Trainer, pl_module: LightningModule) -> None:
    """Gives the copies that the trainer's callbacks average the private state of the run: temperatures, counters, seeds."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for held in vars(callback).values():
            if isinstance(held, AveragedModel):
                copy_private_state(pl_module, held.module)


def check_not_averaged(trainer: Trainer, who: str) -> None:
    """For modules whose parameters and buffers have no mean.

    Raises:
        ValueError: if a callback averages weights.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging | StochasticWeightAveraging):
            raise ValueError(f"{who} holds sequences, which have no mean: leave {type(callback).__name__} out")
