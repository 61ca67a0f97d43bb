"""Where callbacks put pictures and files: every logger that shows images, and a folder in which nothing is overwritten."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor


def output_folder(trainer: Trainer) -> Path:
    """The run's folder: the first logger's directory that has one, else the trainer's root."""
    for logger in trainer.loggers:
        if not isinstance(logger, WandbLogger) and logger.log_dir:
            return Path(logger.log_dir)
    return Path(trainer.default_root_dir)


def fresh_path(folder: Path, name: str) -> Path:
    """`folder/name`, or with -2, -3 ... before the suffix if that exists: nothing a run has written is overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path


def image_grid(images: Tensor, columns: int) -> Tensor:
    """Images (N, C, H, W) in [0, 1] as one (C, rows * H, columns * W) picture."""
    missing = -len(images) % columns
    padded = torch.cat([images, images.new_zeros(missing, *images.shape[1:])])
    rows = padded.unflatten(0, (-1, columns))
    return rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def to_pillow(picture: Tensor, scale: int = 2) -> Any:
    """A (C, H, W) picture in [0, 1], C = 1 or 3, as an enlarged pillow image."""
    from PIL import Image

    array = (picture.detach().float().clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy()
    image = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def log_image(trainer: Trainer, key: str, image: Any) -> None:
    """Sends a pillow image to every W&B logger."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key, [image])


def log_histogram(trainer: Trainer, key: str, values: Tensor) -> None:
    """Sends the bars of a histogram, one value each, to every W&B logger."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            import numpy as np
            import wandb

            edges = np.linspace(0, len(values), min(len(values), 512) + 1)  # W&B takes at most 512 bars
            bars = np.add.reduceat(values.double().cpu().numpy(), edges[:-1].astype(int))
            logger.experiment.log({key: wandb.Histogram(np_histogram=(bars, edges))}, commit=False)
