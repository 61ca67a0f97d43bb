"""Pictures of text, as gymnasium's toy-text environments give it with `render_mode="ansi"`."""

import re
from typing import Any

from discrete_lightning.control.drawing.canvas import BLUE, GREEN, INK, RED, WHITE, YELLOW, Colour, pillow

_CODES = re.compile(r"\x1b\[([0-9;]*)m")
_OTHER = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]")
_PALETTE: tuple[Colour, ...] = (INK, RED, GREEN, YELLOW, BLUE, (150, 60, 160), (40, 150, 160), (130, 130, 130))
_STYLE: tuple[Colour, Colour | None] = (INK, None)


def text_frame(text: str, size: int = 16) -> Any:
    r"""`text` in letters of one width, an image of pillow. ANSI colours of letters and of their ground are used.

    Args:
        text: lines; trailing empty ones are left out.
        size: height of the letters in pixels, at least 4.

    Raises:
        ValueError: `size` is below 4.

    Example:
        >>> small, large = text_frame("+-+"), text_frame("+-+\n| |")
        >>> small.size[0] == large.size[0], small.size[1] < large.size[1]
        (True, True)
    """
    if size < 4:
        raise ValueError(f"letters must be at least 4 pixels high, got {size}")
    image, draw, font_module = pillow()
    font = font_module.load_default(size)
    lines = _styled(text.rstrip())
    width, height = round(size * 0.65), round(size * 1.3)  # the font's letters differ in width: each gets a cell
    columns = max(len(line) for line in lines)
    picture = image.new("RGB", (max(1, columns) * width + size, len(lines) * height + size), WHITE)
    pen = draw.Draw(picture)
    for row, line in enumerate(lines):
        for column, (letter, (colour, ground)) in enumerate(line):
            x, y = size // 2 + column * width, size // 2 + row * height
            if ground is not None:
                pen.rectangle((x, y, x + width - 1, y + height - 1), ground)
            pen.text((x + width / 2, y + height / 2), letter, colour, font=font, anchor="mm")
    return picture


def _styled(text: str) -> list[list[tuple[str, tuple[Colour, Colour | None]]]]:
    """Lines of letters, each with its colour and the colour of its ground."""
    lines: list[list[tuple[str, tuple[Colour, Colour | None]]]] = [[]]
    style = _STYLE
    for i, piece in enumerate(_CODES.split(_OTHER.sub("", text))):
        if i % 2:  # the numbers of a code
            for code in piece.split(";"):
                style = _changed(style, int(code or 0))
            continue
        for letter in piece:
            if letter == "\n":
                lines.append([])
            else:
                lines[-1].append((letter, style))
    return lines


def _changed(style: tuple[Colour, Colour | None], code: int) -> tuple[Colour, Colour | None]:
    colour, ground = style
    if code == 0:
        return _STYLE
    if 30 <= code <= 37 or 90 <= code <= 97:
        return _PALETTE[code % 10], ground
    if 40 <= code <= 47 or 100 <= code <= 107:
        return (WHITE if code % 10 == 0 else colour), _PALETTE[code % 10]
    return style
