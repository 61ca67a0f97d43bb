"""`decode`: codes that `predict` wrote, or a second-stage model made, back to images."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.cli.errors import MISUSE, CliError
from discrete_lightning.training.pictures import image_grid, to_pillow
from discrete_lightning.training.run_files import fresh_path

_BATCH = 256
_SHOWN = 64


class Decoder(LightningModule):
    """A model whose prediction step is its `decode`: codes (N, h, w, ...) to images in [0, 1], as bytes.

    Args:
        model: a LightningModule with a method `decode(indices) -> images`.

    Raises:
        CliError: if it has none.
    """

    def __init__(self, model: LightningModule) -> None:
        super().__init__()
        if not callable(getattr(model, "decode", None)):
            raise CliError(
                f"decode needs a method decode(indices) -> images, which {type(model).__name__} does not have"
            )
        self.model = model

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        decode: Any = self.model.decode
        return (decode(batch[0]).float().clamp(0, 1) * 255).round().byte().cpu()

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Checkpoints are of the model."""
        return self.model.load_state_dict(state_dict, strict, assign)


def read_codes(path: Path | None) -> Tensor:
    """The codes of an .npz file (its array `codes`) or an .npy file.

    Raises:
        CliError: there is no such file, or it holds no array of integers.
    """
    if path is None:
        raise CliError(
            "decode needs --codes FILE: a codes.npz that `predict` wrote, or an .npy array of integers", MISUSE
        )
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                if "codes" not in loaded:
                    raise CliError(f"{path} has no array `codes`, only {', '.join(loaded.files) or 'nothing'}")
                loaded = loaded["codes"]
    except OSError as error:
        raise CliError(f"the codes {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise CliError(f"the codes {path} cannot be read: {error}") from None
    if not np.issubdtype(loaded.dtype, np.integer):
        raise CliError(f"codes are integers, and {path} holds {loaded.dtype} of shape {loaded.shape}")
    return torch.from_numpy(loaded.astype(np.int64))


def loader(codes: Tensor) -> "DataLoader[tuple[Tensor, ...]]":
    """The codes in batches."""
    return DataLoader(TensorDataset(codes), batch_size=_BATCH)


def write_images(batches: list[Tensor], folder: Path) -> None:
    """Writes `images.npz` (uint8 (N, C, H, W), array `images`) and a picture of the first ones."""
    images = torch.cat(batches)
    path = fresh_path(folder, "images.npz")
    np.savez_compressed(path, images=images.numpy())
    shown = images[:_SHOWN].float() / 255
    if len(shown) and shown.shape[1] in (1, 3):
        try:
            to_pillow(image_grid(shown, columns=min(16, len(shown)))).save(fresh_path(folder, "images.png"))
        except ImportError:
            print("no images.png: pillow is not installed (pip install 'discrete_lightning[recipes]')")
    print(f"{len(images)} images: {path}")
