"""Images, videos, histograms, tables and axes for W&B; without a W&B logger nothing happens."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor


def log_image(trainer: Trainer, key: str, image: Any, caption: str = "") -> None:
    """Sends an image, as a pillow image or the path of a file, with its caption to every W&B logger."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key, [image], caption=[caption])


def log_video(trainer: Trainer, key: str, path: Path | str, caption: str = "") -> None:
    """Sends a GIF, the path of a file, with its caption to every W&B logger."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_video(key, [str(path)], caption=[caption], format=["gif"])


def use_step_axis(trainer: Trainer, metric: str) -> None:
    """Makes `metric`, which has to be logged, the horizontal axis of all curves in every W&B logger; once is enough.

    What is logged without it, as figures of a validation are, belongs to its last value.
    """
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.define_metric(metric)
            logger.experiment.define_metric("*", step_metric=metric, step_sync=True)


def log_histogram(trainer: Trainer, key: str, values: Tensor) -> None:
    """Sends the bars of a histogram, one value each, to every W&B logger."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            import numpy as np
            import wandb

            edges = np.linspace(0, len(values), min(len(values), 512) + 1)  # W&B takes at most 512 bars
            bars = np.add.reduceat(values.double().cpu().numpy(), edges[:-1].astype(int))
            logger.experiment.log({key: wandb.Histogram(np_histogram=(bars, edges))}, commit=False)


def log_table(trainer: Trainer, key: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Sends a table of words and numbers to every W&B logger."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_text(key, columns=columns, data=rows)
