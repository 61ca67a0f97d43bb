"""Pictures of what was chosen: accuracy against the number of columns, and pixels over images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def draw_accuracy(sizes: Sequence[int], curves: Mapping[str, Sequence[float]], figure: str) -> Any:
    """A matplotlib figure with a line for each selector.

    Args:
        sizes: numbers of columns.
        curves: by the name of the selector, a score for each size.
        figure: name of the score.
    """
    from matplotlib.figure import Figure  # an optional dependency, and slow to import

    picture = Figure(figsize=(6, 3.6), layout="constrained")
    axis = picture.subplots()
    for i, (name, values) in enumerate(curves.items()):
        axis.plot(sizes, values, marker="o", markersize=4, linewidth=2.2 if i == 0 else 1.1, label=name, zorder=9 - i)
    axis.set(xlabel="number of columns", ylabel=f"test {figure}", xscale="log")
    axis.set_xticks(list(sizes), [str(each) for each in sizes])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return picture


def draw_mask(x: Any, y: Any, frequency: Any, chosen: Any, shape: tuple[int, int]) -> Any:
    """A matplotlib figure with the mean image of each class (at most 10), and the chosen pixels over it.

    Args:
        x: pixels (n, H * W).
        y: classes (n,).
        frequency: share of the seeds that chose each pixel, (H * W,), in [0, 1].
        chosen: bool (H * W,).
        shape: (H, W).
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    labels = np.unique(y)[:10]
    columns = min(5, len(labels))
    rows = -(-len(labels) // columns)
    picture = Figure(figsize=(1.6 * columns, 1.75 * rows), layout="constrained")
    for place, label in enumerate(labels):
        axis = picture.add_subplot(rows, columns, place + 1)
        axis.imshow(x[y == label].mean(0).reshape(shape), cmap="gray_r", interpolation="nearest")
        for pixel in np.flatnonzero((frequency > 0) | chosen):
            corner = (pixel % shape[1] - 0.5, pixel // shape[1] - 0.5)
            face = (0.9, 0.1, 0.1, 0.5 * float(frequency[pixel]))
            axis.add_patch(
                Rectangle(corner, 1, 1, facecolor=face, edgecolor="red" if chosen[pixel] else "none", linewidth=1.2)
            )
        axis.set_title(str(label), fontsize=8)
        axis.set_axis_off()
    return picture
