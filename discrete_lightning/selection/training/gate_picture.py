"""The picture of the probabilities of gates over training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def draw_gates(chances: Mapping[str, Sequence[Tensor]], opened: Mapping[str, Tensor]) -> Any:
    """A matplotlib figure with a map of gates and epochs for each layer, those that stay open longest at the bottom.

    Args:
        chances: by the name of the layer, for each epoch P(open) of its gates, (D,).
        opened: by the name of the layer, which of them are open at the end, bool (D,).
    """
    from matplotlib.figure import Figure  # an optional dependency, and slow to import

    columns = min(3, len(chances))
    rows = -(-len(chances) // columns)
    figure = Figure(figsize=(1.5 + 3.2 * columns, 1 + 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    image = None
    for axis, (name, history) in zip(grid, chances.items(), strict=False):
        found, open = torch.stack(list(history), 1).float(), opened[name]
        order = (open.float() * found.shape[1] + found.sum(1)).argsort(descending=True, stable=True)
        extent = (0.5, found.shape[1] + 0.5, -0.5, len(found) - 0.5)
        image = axis.imshow(
            found[order].numpy(), aspect="auto", origin="lower", extent=extent, cmap="viridis", vmin=0, vmax=1,
            interpolation="nearest",
        )  # fmt: skip
        if 0 < int(open.sum()) < len(open):
            axis.axhline(int(open.sum()) - 0.5, color="tab:red", linewidth=1.2)
        axis.set_title(f"{name}\n{int(open.sum())} of {len(open)} open", fontsize=8, loc="left")
        axis.tick_params(labelsize=7)
    for axis in grid[len(chances) :]:
        axis.axis("off")
    grid[0].set_xlabel("epoch", fontsize=8)
    grid[0].set_ylabel("gate", fontsize=8)
    if image is not None:
        figure.colorbar(image, ax=list(grid), label="probability that the gate is open")
    return figure
