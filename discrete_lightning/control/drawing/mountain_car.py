"""A picture of MountainCar."""

import math
from collections.abc import Sequence
from typing import Any

from discrete_lightning.control.drawing.canvas import BLUE, GREEN, GREY, INK, Canvas, Point

_LEFT, _RIGHT, _GOAL = -1.2, 0.6, 0.5


def draw_mountain_car(observation: Sequence[float]) -> Any:
    """Hills, car and flag, an image of pillow.

    Args:
        observation: position and velocity; the velocity is not drawn.

    Example:
        >>> draw_mountain_car([-0.5, 0.0]).size
        (300, 200)
    """
    position = float(observation[0])
    canvas = Canvas(scale=300 / 1.95, centre=(-0.3, 0.62))
    canvas.line([_on_hill(_LEFT + (_RIGHT - _LEFT) * i / 90) for i in range(91)], GREY, width=3)
    foot = _on_hill(_GOAL)
    canvas.line([foot, (foot[0], foot[1] + 0.2)], INK, width=2)
    canvas.polygon([(foot[0], foot[1] + 0.2), (foot[0], foot[1] + 0.12), (foot[0] - 0.1, foot[1] + 0.16)], GREEN)
    x, y = _on_hill(position)
    slope = math.atan(1.35 * math.cos(3 * position))
    along, up = (math.cos(slope), math.sin(slope)), (-math.sin(slope), math.cos(slope))

    def corner(forward: float, above: float) -> Point:
        return x + forward * along[0] + above * up[0], y + forward * along[1] + above * up[1]

    canvas.polygon([corner(-0.07, 0.03), corner(0.07, 0.03), corner(0.05, 0.1), corner(-0.05, 0.1)], BLUE)
    for wheel in (-0.045, 0.045):
        canvas.disc(corner(wheel, 0.03), 4, INK)
    return canvas.image()


def _on_hill(position: float) -> Point:
    return position, 0.45 * math.sin(3 * position) + 0.55
