"""Pictures of grids with an agent on them: FrozenLake, DeepSea."""

from collections.abc import Sequence
from typing import Any

from discrete_lightning.control.drawing.canvas import BLUE, GREEN, GREY, INK, RED, WHITE, YELLOW, Canvas, Colour

_COLOURS: dict[str, Colour] = {"S": (225, 235, 215), "H": BLUE, "G": GREEN, "#": INK}
_FREE: Colour = (235, 240, 245)
_HEIGHT = 200


def draw_grid(rows: Sequence[str], position: int | None, trodden: Sequence[int] = ()) -> Any:
    """A grid in FrozenLake's letters and its agent, an image of pillow, 200 pixels high and about square cells.

    Args:
        rows: S start, G goal (green), H hole (blue), # wall (black); any other letter: free.
        position: cell of the agent, row by row; None: it is not on the grid.
        trodden: cells with a mark, such as those of the way so far.

    Raises:
        ValueError: the rows differ in length, or a position is not on the grid.

    Example:
        >>> draw_grid(["SF", "HG"], position=1).size
        (200, 200)
    """
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"the rows of a grid must be of one length, at least 1; got {list(rows)}")
    height, width = len(rows), len(rows[0])
    for each in [*trodden, *([] if position is None else [position])]:
        if not 0 <= each < height * width:
            raise ValueError(f"cell {each} is not on a grid of {height} x {width}: cells are 0 to {height * width - 1}")
    cell = _HEIGHT / height
    canvas = Canvas(scale=cell, centre=(width / 2, -height / 2), size=(round(cell * width), _HEIGHT))
    gap = min(0.04, 0.5 / cell)
    canvas.box((0, -height), (width, 0), GREY)
    for i, letter in enumerate("".join(rows)):
        row, column = divmod(i, width)
        colour = _COLOURS.get(letter, _FREE)
        canvas.box((column + gap, -row - 1 + gap), (column + 1 - gap, -row - gap), colour)
    for i in trodden:
        canvas.disc(_middle(i, width), 0.12 * cell, YELLOW)
    if position is not None:
        canvas.disc(_middle(position, width), 0.34 * cell, WHITE)
        canvas.disc(_middle(position, width), 0.3 * cell, RED)
    return canvas.image()


def _middle(cell: int, width: int) -> tuple[float, float]:
    row, column = divmod(cell, width)
    return column + 0.5, -row - 0.5
