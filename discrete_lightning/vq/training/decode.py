"""`decode`: codes that `predict` wrote, or a second-stage model made, back to images or sounds. It is `predict` with these
classes."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, StackDataset

from discrete_lightning.protocols import DecodesIndices, DecodesSounds
from discrete_lightning.storage.arrays import read_arrays
from discrete_lightning.storage.gunzip import PackedError
from discrete_lightning.storage.wav import write_wav
from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.pictures import image_grid, never_ends_a_run, save_pillow, shown_channels, to_pillow
from discrete_lightning.training.prediction_writer import PredictionWriter
from discrete_lightning.training.run_files import fresh_path, output_folder

_SHOWN = 64


class CodeFile(LightningDataModule):
    """Codes of a file as the data of `predict`.

    Args:
        path: an .npz file with an array `codes`, or an .npy file; integers (N, h, w, ...). With `codes_lengths` (N,) beside it
            `codes` (sum of the lengths, ...) holds rows one behind the other, as CodeWriter writes those of different lengths.
        batch_size: codes (h, w, ...) decoded at a time; rows of different lengths are decoded one by one.

    Raises:
        ValueError: there is no such file, or it holds no array of integers; or the lengths do not fit the codes.
    """

    def __init__(self, path: str, batch_size: int = 256) -> None:
        super().__init__()
        self.codes, lengths = _read(Path(path))
        self.rows: Any = self.codes if lengths is None else self.codes.split(lengths)
        self.batch_size = batch_size if lengths is None else 1

    def predict_dataloader(self) -> "DataLoader[tuple[Tensor, ...]]":
        return DataLoader(StackDataset(self.rows), batch_size=self.batch_size)


class DecodedWriter(PredictionWriter):
    """Writes what the codes that `CodeFile` serves stand for. Images: images.npz (uint8 (N, C, H, W), array `images`) and
    images.png. Sounds: `decoded/1.wav`, `decoded/2.wav` and so on, in the order of the codes.

    While it runs, the module's prediction step is its `decode_indices` or `decode_samples`.

    Raises:
        ValueError: in setup, if the module has neither.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if isinstance(pl_module, DecodesIndices):
            vars(pl_module)["predict_step"] = partial(_images_of, pl_module)
        elif isinstance(pl_module, DecodesSounds):
            vars(pl_module)["predict_step"] = partial(_sounds_of, pl_module)
        else:
            raise ValueError(
                "decode needs a method decode_indices(indices) -> images, or decode_samples(indices) -> sounds and a "
                f"sample_rate, which {type(pl_module).__name__} does not have"
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        vars(pl_module).pop("predict_step", None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "predict")  # Lightning calls teardown only after success

    def write(self, trainer: Trainer, pl_module: LightningModule, batches: list[Any], suffix: str) -> None:
        if isinstance(pl_module, DecodesIndices):
            _write_images(trainer, torch.cat(batches))
        else:
            assert isinstance(pl_module, DecodesSounds)  # checked in setup
            _write_sounds(trainer, [row for batch in batches for row in batch], pl_module.sample_rate)


def _images_of(module: DecodesIndices, batch: Sequence[Tensor], *_: Any) -> Tensor:
    return (module.decode_indices(batch[0]).float().clamp(0, 1) * 255).round().byte().cpu()


def _sounds_of(module: DecodesSounds, batch: Sequence[Tensor], *_: Any) -> Tensor:
    return module.decode_samples(batch[0]).float().cpu()


def _write_images(trainer: Trainer, images: Tensor) -> None:
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


def _write_sounds(trainer: Trainer, sounds: Sequence[Tensor], rate: int) -> None:
    folder = output_folder(trainer) / "decoded"
    for number, samples in enumerate(sounds, start=1):
        with atomic_write(fresh_path(folder, f"{number}.wav")) as file:
            write_wav(file, samples.numpy(), rate)
    print(f"{len(sounds)} sounds: {folder}")


def _read(path: Path) -> tuple[Tensor, list[int] | None]:
    try:
        loaded = read_arrays(path)
    except OSError as error:
        raise ValueError(f"the codes {path} cannot be read: {error.strerror or error}") from None
    except PackedError as error:
        raise ValueError(f"the codes {path} cannot be read: {error}") from None
    lengths = None
    if isinstance(loaded, dict):
        if "codes" not in loaded:
            raise ValueError(
                f"the codes {path} cannot be read: it has no array `codes`, only {', '.join(loaded) or 'nothing'}"
            )
        loaded, lengths = loaded["codes"], loaded.get("codes_lengths")
    if not np.issubdtype(loaded.dtype, np.integer):
        raise ValueError(f"codes are integers, and {path} holds {loaded.dtype} of shape {loaded.shape}")
    if not loaded.ndim or not len(loaded):
        raise ValueError(f"{path} holds no codes: its shape is {loaded.shape}")
    codes = torch.from_numpy(loaded.astype(np.int64))
    if lengths is None:
        return codes, None
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or lengths.min(initial=1) < 1 or lengths.sum() != len(codes):
        raise ValueError(
            f"{path}: codes_lengths are integers (N,) of 1 or more that add up to the {len(codes)} rows of codes, got "
            f"{lengths.dtype} of shape {lengths.shape}"
        )
    return codes, [int(each) for each in lengths]
