"""Pictures of gymnasium environments, drawn without a window and, where they are known, without pygame."""

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discrete_lightning.control.vector.base import EnvironmentFault
from discrete_lightning.control.vector.gymnasium_maker import not_made

_KNOWN = {"CartPoleEnv": "CartPole", "AcrobotEnv": "Acrobot", "MountainCarEnv": "MountainCar"}


def frame_of(environment: Any, observation: NDArray[np.float32], name: str) -> Any:
    """A pillow image (RGB) of an environment as it is now.

    Args:
        environment: of gymnasium.
        observation: its last one, which is drawn where the environment draws nothing.
        name: of the environment, for messages.

    Raises:
        EnvironmentFault: a package is missing, and the message says which; or drawing raised an exception.
    """
    inner = environment.unwrapped
    known = _KNOWN.get(type(inner).__name__) if type(inner).__module__.startswith("gymnasium.") else None
    try:
        if known is not None:
            from discrete_lightning.control import environments

            return getattr(environments, known)().draw(torch.as_tensor(np.asarray(inner.state), dtype=torch.float32))
        rendered = None
        if environment.render_mode in ("rgb_array", "ansi"):
            for variable, value in (("PYGAME_HIDE_SUPPORT_PROMPT", "1"), ("SDL_VIDEODRIVER", "dummy")):  # no window
                os.environ.setdefault(variable, value)
            rendered = environment.render()
        return picture(rendered, observation)
    except Exception as error:
        entry = str(getattr(environment.spec, "entry_point", ""))
        raise EnvironmentFault(not_made(name, error, entry, "drawn")) from error


def picture(rendered: Any, observation: NDArray[np.float32]) -> Any:
    """What an environment rendered as a pillow image: an array (H, W, 3), a text, or None for a picture of the observation.

    Raises:
        ImportError: pillow is not installed.
    """
    from discrete_lightning.control.drawing.canvas import SIZE, pillow
    from discrete_lightning.control.drawing.text import text_frame

    if isinstance(rendered, str):
        return text_frame(rendered)
    image, _, _ = pillow()
    pixels = np.asarray(observation if rendered is None else rendered)
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if pixels.ndim == 2:
        span = float(np.ptp(pixels)) or 1.0
        return image.fromarray(((pixels - pixels.min()) / span * 255).astype(np.uint8)).convert("RGB").resize(SIZE, 0)
    return _bars(np.asarray(observation, np.float32).ravel())


def _bars(values: NDArray[np.float32]) -> Any:
    """Numbers as bars up and down from a line, each of height x / (1 + |x|)."""
    from discrete_lightning.control.drawing.canvas import BLUE, INK, SIZE, Canvas

    canvas = Canvas(scale=1)
    left, step = -SIZE[0] / 2, SIZE[0] / max(len(values), 1)
    for i, value in enumerate(values.tolist()):
        top = 0.45 * SIZE[1] * value / (1 + abs(value))
        canvas.box((left + (i + 0.1) * step, min(top, 0)), (left + (i + 0.9) * step, max(top, 0)), BLUE)
    canvas.line([(left, 0), (-left, 0)], INK, 1)
    return canvas.image()
