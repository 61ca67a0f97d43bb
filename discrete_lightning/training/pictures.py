"""Pictures: tensors and matplotlib figures to image files of the run, and to W&B."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.run_files import fresh_path, output_folder
from discrete_lightning.training.wandb_media import log_image


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


def save_image(image: Any, path: Path) -> None:
    """Writes a pillow image in the format that the suffix of `path` names, PNG where it names none."""
    from PIL import Image

    with atomic_write(path) as file:
        image.save(file, format=Image.registered_extensions().get(path.suffix.lower(), "PNG"))


def save_figure(trainer: Trainer, figure: Any, filename: str, key: str) -> Path:
    """Writes a matplotlib figure to the run's folder, never over a file, and sends it to every W&B logger as `key`.

    Returns:
        The file.
    """
    path = fresh_path(output_folder(trainer), filename)
    with atomic_write(path) as file:
        figure.savefig(file, dpi=120, format=path.suffix[1:] or "png")
    log_image(trainer, key, str(path))
    return path
