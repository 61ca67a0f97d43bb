"""A picture of CartPole."""

import math
from collections.abc import Sequence
from typing import Any

from discrete_lightning.control.drawing.canvas import BLUE, GREY, INK, RED, Canvas

_LENGTH = 1.0  # of the pole
_LIMIT = 2.4


def draw_cart_pole(observation: Sequence[float]) -> Any:
    """Track, cart and pole, an image of pillow.

    Args:
        observation: position, velocity, angle (positive: to the right), angular velocity.

    Example:
        >>> draw_cart_pole([0.0, 0.0, 0.1, 0.0]).size
        (300, 200)
    """
    position, _, angle, _ = (float(each) for each in observation)
    canvas = Canvas(scale=300 / 5.2, centre=(0.0, 0.7))
    canvas.line([(-_LIMIT, -0.2), (_LIMIT, -0.2)], GREY, width=2)
    for end in (-_LIMIT, _LIMIT):
        canvas.line([(end, -0.3), (end, -0.1)], GREY, width=2)
    canvas.box((position - 0.3, -0.2), (position + 0.3, 0.1), INK)
    foot = (position, 0.05)
    top = (foot[0] + _LENGTH * math.sin(angle), foot[1] + _LENGTH * math.cos(angle))
    canvas.line([foot, top], RED, width=7)
    canvas.disc(foot, 5, BLUE)
    return canvas.image()
