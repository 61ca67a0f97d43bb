"""`decode`: codes that `predict` wrote, or a second-stage model made, back to images. It is `predict` with these classes."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.protocols import DecodesIndices
from discrete_lightning.storage.arrays import read_arrays
from discrete_lightning.storage.gunzip import PackedError
from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.pictures import image_grid, never_ends_a_run, save_pillow, shown_channels, to_pillow
from discrete_lightning.training.prediction_writer import PredictionWriter
from discrete_lightning.training.run_files import fresh_path, output_folder

_SHOWN = 64


class CodeFile(LightningDataModule):
    """Codes of a file as the data of `predict`.

    Args:
        path: an .npz file with an array `codes`, or an .npy file; integers (N, h, w, ...).
        batch_size: codes (h, w, ...) decoded at a time.

    Raises:
        ValueError: there is no such file, or it holds no array of integers.
    """

    def __init__(self, path: str, batch_size: int = 256) -> None:
        super().__init__()
        self.codes, self.batch_size = _read(Path(path)), batch_size

    def predict_dataloader(self) -> "DataLoader[tuple[Tensor, ...]]":
        return DataLoader(TensorDataset(self.codes), batch_size=self.batch_size)


class ImageWriter(PredictionWriter):
    """Writes the images of the codes that `CodeFile` serves: images.npz (uint8 (N, C, H, W), array `images`) and images.png.

    While it runs, the module's prediction step is its `decode_indices`.

    Raises:
        ValueError: in setup, if the module has no `decode_indices`.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, DecodesIndices):
            raise ValueError(
                "decode needs a method decode_indices(indices) -> images, "
                f"which {type(pl_module).__name__} does not have"
            )
        vars(pl_module)["predict_step"] = partial(_decode, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        vars(pl_module).pop("predict_step", None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "predict")  # Lightning calls teardown only after success

    def write(self, trainer: Trainer, pl_module: LightningModule, batches: list[Any], suffix: str) -> None:
        images = torch.cat(batches)
        folder = output_folder(trainer)
        path = fresh_path(folder, "images.npz")
        with atomic_write(path) as file:
            np.savez_compressed(file, images=images.numpy())
        shown = images[:_SHOWN].float() / 255
        if len(shown):
            caption = f"Images of the first {len(shown)} of {len(images)} grids of codes, row by row"
            caption += shown_channels(shown.shape[1])
            with never_ends_a_run("images.png"):
                picture = to_pillow(image_grid(shown, columns=min(16, len(shown))), caption=caption)
                save_pillow(trainer, picture, "images.png", caption)
        print(f"{len(images)} images: {path}")


def _decode(module: DecodesIndices, batch: Sequence[Tensor], *_: Any) -> Tensor:
    return (module.decode_indices(batch[0]).float().clamp(0, 1) * 255).round().byte().cpu()


def _read(path: Path) -> Tensor:
    try:
        loaded = read_arrays(path)
    except OSError as error:
        raise ValueError(f"the codes {path} cannot be read: {error.strerror or error}") from None
    except PackedError as error:
        raise ValueError(f"the codes {path} cannot be read: {error}") from None
    if isinstance(loaded, dict):
        if "codes" not in loaded:
            raise ValueError(
                f"the codes {path} cannot be read: it has no array `codes`, only {', '.join(loaded) or 'nothing'}"
            )
        loaded = loaded["codes"]
    if not np.issubdtype(loaded.dtype, np.integer):
        raise ValueError(f"codes are integers, and {path} holds {loaded.dtype} of shape {loaded.shape}")
    if not len(loaded):
        raise ValueError(f"{path} holds no codes: its shape is {loaded.shape}")
    return torch.from_numpy(loaded.astype(np.int64))
