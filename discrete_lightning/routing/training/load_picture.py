"""The picture of the load of each expert over training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def draw_load(loads: Mapping[str, Sequence[Tensor]]) -> Any:
    """A matplotlib figure with a map of experts and epochs for each router; colours are multiples of an even load.

    Args:
        loads: by the name of the router, for each epoch the share of each expert, (N,).
    """
    from matplotlib.figure import Figure  # an optional dependency, and slow to import

    figure = Figure(figsize=(7, 1.2 + 2 * len(loads)), layout="constrained")
    axes = figure.subplots(len(loads), 1, squeeze=False)[:, 0]
    for axis, (name, shares) in zip(axes, loads.items(), strict=True):
        load = torch.stack(list(shares), 1) * len(shares[0])
        extent = (0.5, load.shape[1] + 0.5, -0.5, len(load) - 0.5)
        image = axis.imshow(
            load.numpy(),
            aspect="auto",
            origin="lower",
            extent=extent,
            cmap="PuOr_r",
            vmin=0,
            vmax=2,
            interpolation="nearest",
        )
        axis.set(xlabel="epoch", ylabel="expert")
        axis.set_title(f"{name}\nlargest load in the last epoch {load[:, -1].max():.2f}", fontsize=9, loc="left")
    figure.colorbar(image, ax=list(axes), label="load / even load", extend="max")
    return figure
