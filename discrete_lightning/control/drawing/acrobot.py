"""A picture of Acrobot."""

from collections.abc import Sequence
from typing import Any

from discrete_lightning.control.drawing.canvas import BLUE, GREY, INK, RED, Canvas


def draw_acrobot(observation: Sequence[float]) -> Any:
    """Both links and the line that the free end is to reach, an image of pillow.

    Args:
        observation: cosine and sine of the first link's angle (0: hanging down) and of the second's relative to the first;
            velocities, which are not drawn.

    Example:
        >>> draw_acrobot([1.0, 0.0, 1.0, 0.0, 0.0, 0.0]).size
        (300, 200)
    """
    cosine, sine, bend_cosine, bend_sine = (float(each) for each in observation[:4])
    canvas = Canvas(scale=200 / 4.5)
    canvas.line([(-3.2, 1.0), (3.2, 1.0)], GREY, width=2)
    elbow = (sine, -cosine)
    down, right = cosine * bend_cosine - sine * bend_sine, sine * bend_cosine + cosine * bend_sine
    tip = (elbow[0] + right, elbow[1] - down)
    canvas.line([(0.0, 0.0), elbow], INK, width=7)
    canvas.line([elbow, tip], RED, width=7)
    canvas.disc((0.0, 0.0), 5, BLUE)
    canvas.disc(elbow, 5, BLUE)
    return canvas.image()
