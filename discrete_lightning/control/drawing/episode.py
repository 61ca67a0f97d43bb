"""A whole episode as a strip of frames side by side, or as a GIF."""

from collections.abc import Sequence
from os import PathLike
from typing import IO, Any

from discrete_lightning.control.drawing.canvas import INK, WHITE, pillow

_GAP = 4
_CAPTION = 18


def strip(frames: Sequence[Any], count: int = 8, captions: Sequence[str] | None = None) -> Any:
    """`count` frames of an episode side by side, evenly spaced from the first to the last; all, if there are fewer.

    Args:
        frames: images of pillow; they may differ in size.
        count: at least 1.
        captions: one for each frame of the episode, drawn below those that are shown; None: their numbers, from 0.

    Raises:
        ValueError: there are no frames, `count` is below 1, or captions are not as many as frames.

    Example:
        >>> from discrete_lightning.control.drawing import draw_cart_pole
        >>> strip([draw_cart_pole([0.0, 0.0, 0.01 * i, 0.0]) for i in range(20)], count=3).size
        (908, 218)
    """
    if count < 1 or not frames:
        raise ValueError(f"a strip needs at least 1 frame, got count {count} and {len(frames)} frames")
    if captions is not None and len(captions) != len(frames):
        raise ValueError(f"there must be one caption for each of {len(frames)} frames, got {len(captions)}")
    image, draw, font_module = pillow()
    shown = spaced(len(frames), count)
    sizes = [frames[i].size for i in shown]
    height = max(each[1] for each in sizes)
    picture = image.new("RGB", (sum(each[0] for each in sizes) + _GAP * (len(shown) - 1), height + _CAPTION), WHITE)
    pen, font, left = draw.Draw(picture), font_module.load_default(12), 0
    for i, (width, _) in zip(shown, sizes, strict=True):
        picture.paste(frames[i], (left, 0))
        caption = str(i) if captions is None else captions[i]
        pen.text((left + width / 2, height + _CAPTION / 2), caption, INK, font=font, anchor="mm")
        left += width + _GAP
    return picture


def of_one_size(frames: Sequence[Any]) -> list[Any]:
    """Frames with white to their right and below, so that all have the size of the largest; texts grow and shrink."""
    width, height = (max(each.size[i] for each in frames) for i in (0, 1))
    image, _, _ = pillow()
    found = []
    for each in frames:
        canvas = each
        if each.size != (width, height):
            canvas = image.new("RGB", (width, height), WHITE)
            canvas.paste(each, (0, 0))
        found.append(canvas)
    return found


def spaced(total: int, count: int) -> list[int]:
    """`count` different numbers, evenly spaced from 0 to total - 1; all, if there are fewer.

    Example:
        >>> spaced(10, 4), spaced(2, 4), spaced(5, 1)
        ([0, 3, 6, 9], [0, 1], [4])
    """
    if count == 1:
        return [total - 1]
    if total <= count:
        return list(range(total))
    return [round(i * (total - 1) / (count - 1)) for i in range(count)]


def write_gif(target: str | PathLike[str] | IO[bytes], frames: Sequence[Any], fps: float = 20.0) -> None:
    """Writes an animated GIF that repeats for ever. A frame that equals the one before makes that one last longer.

    Args:
        target: path, or a file open for bytes.
        frames: images of pillow of one size.
        fps: frames a second, in (0, 50]: GIF counts hundredths of a second, and viewers slow down what is faster.

    Raises:
        ValueError: there are no frames, their sizes differ, or `fps` is out of range.
    """
    if not frames:
        raise ValueError("a GIF needs at least 1 frame, got none")
    if len({each.size for each in frames}) > 1:
        raise ValueError(f"frames of a GIF must be of one size, got {sorted({each.size for each in frames})}")
    if not 0 < fps <= 50:
        raise ValueError(f"fps must be above 0 and at most 50, got {fps}")
    image, _, _ = pillow()
    first, *rest = [each.quantize(63, dither=image.Dither.NONE) for each in frames]
    duration = round(100 / fps) * 10  # milliseconds
    first.save(target, format="GIF", save_all=True, append_images=rest, duration=duration, loop=0, optimize=False)
