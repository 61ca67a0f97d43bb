"""Pictures of gymnasium environments, drawn without a window and, where they are known, without pygame."""

import os
import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discrete_lightning.control.vector.base import EnvironmentFault
from discrete_lightning.control.vector.gymnasium_maker import EXTRA

_KNOWN = {"CartPoleEnv": "CartPole", "AcrobotEnv": "Acrobot", "MountainCarEnv": "MountainCar"}
_ANSI = re.compile(r"\x1b\[([\d;]*)m")
_COLOURS = ("#202020", "#d03030", "#30a040", "#c09000", "#3060d0", "#a040a0", "#20a0a0", "#a0a0a0")
_CELL, _LINE = 12, 20  # pixels of a character
_SIZE = (300, 200)


def frame_of(environment: Any, observation: NDArray[np.float32], name: str) -> Any:
    """A pillow image (RGB) of an environment as it is now.

    Args:
        environment: of gymnasium.
        observation: its last one, which is drawn where the environment draws nothing.
        name: of the environment, for messages.

    Raises:
        EnvironmentFault: a package is missing; the message says which.
    """
    inner = environment.unwrapped
    if (known := _KNOWN.get(type(inner).__name__)) and type(inner).__module__.startswith("gymnasium."):
        from discrete_lightning.control import environments

        return getattr(environments, known)().draw(torch.as_tensor(np.asarray(inner.state), dtype=torch.float32))
    rendered = None
    if environment.render_mode in ("rgb_array", "ansi"):
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            rendered = environment.render()
        except Exception as error:
            if type(error).__name__ == "DependencyNotInstalled" or isinstance(error, ImportError):
                text = " ".join(str(error).split())
                raise EnvironmentFault(f"{name} cannot be drawn: {text}") from error
            raise EnvironmentFault(f"{name} cannot be drawn: {type(error).__name__}: {error}") from error
    return picture(rendered, observation)


def picture(rendered: Any, observation: NDArray[np.float32]) -> Any:
    """What an environment rendered as a pillow image: an array (H, W, 3), a text, or None for a picture of the observation.

    Raises:
        EnvironmentFault: pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise EnvironmentFault(f"pictures need pillow: {EXTRA}") from error
    if isinstance(rendered, str):
        return text_picture(rendered)
    pixels = np.asarray(observation if rendered is None else rendered)
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if pixels.ndim == 2:
        span = float(np.ptp(pixels)) or 1.0
        return Image.fromarray(((pixels - pixels.min()) / span * 255).astype(np.uint8)).convert("RGB").resize(_SIZE, 0)
    return _bars(np.asarray(observation, np.float32).ravel())


def text_picture(text: str) -> Any:
    """A pillow image of a text in a terminal's colours, one character a cell."""
    from PIL import Image, ImageDraw, ImageFont

    lines = [line for line in text.rstrip("\n").split("\n") if _ANSI.sub("", line).strip() or line]
    width = max(len(_ANSI.sub("", line)) for line in lines) if lines else 1
    image = Image.new("RGB", (max(width, 1) * _CELL + _CELL, (len(lines) + 1) * _LINE), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default()
    ink, ground = _COLOURS[0], None
    for row, line in enumerate(lines):
        column = 0
        for i, part in enumerate(_ANSI.split(line)):
            if i % 2:  # the codes between two texts
                ink, ground = _styled(part, ink, ground)
                continue
            for character in part:
                x, y = column * _CELL + _CELL // 2, row * _LINE + _LINE // 2
                if ground is not None:
                    draw.rectangle((x, y, x + _CELL - 1, y + _LINE - 1), fill=ground)
                draw.text((x + 3, y + 3), character, fill=ink, font=font)
                column += 1
    return image


def _styled(codes: str, ink: str, ground: str | None) -> tuple[str, str | None]:
    for code in (int(each or 0) for each in codes.split(";")):
        if code == 0:
            ink, ground = _COLOURS[0], None
        elif 30 <= code <= 37:
            ink = _COLOURS[code - 30]
        elif 40 <= code <= 47:
            ground = _COLOURS[code - 40]
    return ink, ground


def _bars(values: NDArray[np.float32]) -> Any:
    """Numbers as bars up and down from a line, each by x / (1 + |x|)."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", _SIZE, "white")
    draw, (width, height) = ImageDraw.Draw(image), _SIZE
    middle, step = height / 2, width / max(len(values), 1)
    for i, value in enumerate(values.tolist()):
        top = middle - value / (1 + abs(value)) * middle * 0.9
        draw.rectangle(
            (i * step + step * 0.1, min(top, middle), (i + 1) * step - step * 0.1, max(top, middle)), fill=_COLOURS[4]
        )
    draw.line((0, middle, width, middle), fill=_COLOURS[0])
    return image
