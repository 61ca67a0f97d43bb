"""What every picture is drawn on: a canvas in units of the environment, twice as large as the picture while it is drawn."""

from collections.abc import Sequence
from typing import Any

Colour = tuple[int, int, int]
Point = tuple[float, float]
WHITE: Colour = (255, 255, 255)
INK: Colour = (30, 30, 30)
GREY: Colour = (150, 150, 150)
BLUE: Colour = (60, 110, 180)
RED: Colour = (200, 70, 50)
GREEN: Colour = (50, 150, 80)
YELLOW: Colour = (230, 190, 60)
SIZE = (300, 200)
_FINE = 2  # pixels of the canvas for one of the picture: edges are smooth


class Canvas:
    """A white picture of `size` pixels whose middle is `centre`, with `scale` pixels for a unit; y points up.

    Example:
        >>> canvas = Canvas(scale=50)
        >>> canvas.line([(-1, 0), (1, 0)], RED, width=4)
        >>> canvas.image().size, canvas.image().getpixel((150, 100))
        ((300, 200), (200, 70, 50))
    """

    def __init__(self, scale: float, centre: Point = (0.0, 0.0), size: tuple[int, int] = SIZE) -> None:
        image, draw, _ = pillow()
        self._size, self._scale, self._centre = size, scale, centre
        self._image = image.new("RGB", (size[0] * _FINE, size[1] * _FINE), WHITE)
        self._draw = draw.Draw(self._image)

    def _at(self, point: Point) -> Point:
        x = (point[0] - self._centre[0]) * self._scale + self._size[0] / 2
        y = (self._centre[1] - point[1]) * self._scale + self._size[1] / 2
        return x * _FINE, y * _FINE

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line through `points`, `width` pixels wide, with round joints."""
        self._draw.line([self._at(each) for each in points], colour, round(width * _FINE), joint="curve")

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """The area inside `points`."""
        self._draw.polygon([self._at(each) for each in points], colour)

    def box(self, low: Point, high: Point, colour: Colour) -> None:
        """A rectangle between two corners."""
        (left, bottom), (right, top) = self._at(low), self._at(high)
        self._draw.rectangle((left, top, right, bottom), colour)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """A disc whose radius is in pixels."""
        x, y = self._at(centre)
        r = radius * _FINE
        self._draw.ellipse((x - r, y - r, x + r, y + r), colour)

    def image(self) -> Any:
        """The picture, an RGB image of pillow."""
        return self._image.reduce(_FINE)


def pillow() -> tuple[Any, Any, Any]:
    """The modules Image, ImageDraw and ImageFont of pillow.

    Raises:
        ImportError: pillow is missing; the message says how to install it.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise ImportError("pictures need pillow: pip install 'discrete_lightning[control]'") from error
    return Image, ImageDraw, ImageFont
