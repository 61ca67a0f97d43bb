"""Pictures with captions: tensors and matplotlib figures to image files of the run, and to W&B."""

import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.run_files import fresh_path, output_folder
from discrete_lightning.training.wandb_media import log_image

_NARROWEST = 320  # pixels that a caption has at least
_LETTER = 6  # pixels of a letter, about


@contextmanager
def never_ends_a_run(what: str) -> Iterator[None]:
    """Turns an exception inside into a warning: a picture is worth less than the run it is of.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     with never_ends_a_run("codes.png"):
        ...         raise OSError("no space left")
        >>> str(caught[0].message)
        'codes.png was not drawn (OSError: no space left); the run goes on'
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        if isinstance(error, ImportError):
            reason += ": pip install 'discrete_lightning[recipes]'"
        warnings.warn(f"{what} was not drawn ({type(error).__name__}: {reason}); the run goes on", stacklevel=3)


def image_grid(images: Tensor, columns: int) -> Tensor:
    """Images (N, C, H, W) in [0, 1] as one (C, rows * H, columns * W) picture."""
    missing = -len(images) % columns
    padded = torch.cat([images, images.new_zeros(missing, *images.shape[1:])])
    rows = padded.unflatten(0, (-1, columns))
    return rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def visible(images: Tensor) -> Tensor:
    """Images (..., C, H, W) of any number of channels as grey (C = 1) or red, green and blue (C = 3).

    Of more than three channels the first three are shown, two are shown as red and green.

    Example:
        >>> visible(torch.rand(5, 7, 8, 8)).shape, visible(torch.rand(5, 2, 8, 8)).shape
        (torch.Size([5, 3, 8, 8]), torch.Size([5, 3, 8, 8]))
    """
    channels = images.shape[-3]
    if channels == 2:
        return torch.cat([images, torch.zeros_like(images[..., :1, :, :])], -3)
    return images[..., :3, :, :] if channels > 3 else images


def shown_channels(channels: int) -> str:
    """The end of a caption: which channels are shown; empty where all are."""
    if channels in (1, 3):
        return ""
    return f"; channels 1 to {min(3, channels)} of {channels} as red, green{', blue' if channels > 3 else ''}"


def to_pillow(picture: Tensor, scale: int = 2, caption: str = "") -> Any:
    """A (C, H, W) picture in [0, 1] as an enlarged pillow image, with a caption below."""
    from PIL import Image

    array = (visible(picture.detach()).float().clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy()
    image = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    return _with_caption(image, caption) if caption else image


def _with_caption(image: Any, caption: str) -> Any:
    from PIL import Image, ImageDraw, ImageFont

    width = max(image.width, _NARROWEST)
    text = textwrap.fill(caption, max(1, width // _LETTER))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default()
    _, _, _, height = draw.multiline_textbbox((0, 0), text, font=font)
    canvas = Image.new(image.mode, (width, image.height + int(height) + 6), "white")
    canvas.paste(image, (0, 0))
    ImageDraw.Draw(canvas).multiline_text((2, image.height + 2), text, fill="black", font=font)
    return canvas


def save_pillow(trainer: Trainer, image: Any, filename: str, caption: str) -> Path:
    """Writes a pillow image to the run's folder, never over a file; a PNG holds the caption as its `Description`, too.

    Returns:
        The file.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    path = fresh_path(output_folder(trainer), filename)
    described = PngInfo()
    described.add_text("Description", caption)
    kind = Image.registered_extensions().get(path.suffix.lower(), "PNG")
    with atomic_write(path) as file:
        image.save(file, format=kind, **({"pnginfo": described} if kind == "PNG" else {}))
    return path


def save_figure(trainer: Trainer, figure: Any, filename: str, key: str, caption: str = "") -> Path:
    """Writes a matplotlib figure with a caption below to the run's folder, never over a file, and sends it to every W&B logger.

    Args:
        trainer: of the run.
        figure: of constrained layout.
        filename: of the picture.
        key: its name in W&B.
        caption: one sentence, also written into a PNG as its `Description`.

    Returns:
        The file.
    """
    path = fresh_path(output_folder(trainer), filename)
    add_caption(figure, caption)
    kind = path.suffix[1:].lower() or "png"
    with atomic_write(path) as file:
        figure.savefig(
            file, dpi=120, format=kind, metadata={"Description": caption} if caption and kind == "png" else None
        )
    log_image(trainer, key, str(path), caption)
    return path


def add_caption(figure: Any, caption: str) -> None:
    """A line of small text below a matplotlib figure, wrapped to its width."""
    if caption:
        letters = max(1, int(figure.get_size_inches()[0] * 15))
        figure.supxlabel(textwrap.fill(caption, letters), fontsize=7, x=0.01, ha="left", color="0.3")
