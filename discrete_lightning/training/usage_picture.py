"""The picture of ChoiceMonitor: how often each category was chosen, or each gate open, most used first."""

from typing import Any

from torch import Tensor

from discrete_lightning.layers.choice_use import ChoiceUse
from discrete_lightning.training.pictures import visible


def draw_usage(uses: dict[str, ChoiceUse], categories: str, epoch: int, picture: Tensor | None = None) -> Any:
    """A matplotlib figure of the usage in each layer, with an image below.

    Args:
        uses: by the name of the layer.
        categories: what is chosen, a plural.
        epoch: of training, counted from 1, that is shown.
        picture: (C, H, W) in [0, 1], of what the categories stand for.
    """
    from matplotlib.figure import Figure  # an optional dependency, and slow to import

    heights = [1.6] * len(uses) + ([4.5] if picture is not None else [])
    figure = Figure(figsize=(9, sum(heights) + 0.8), layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, use) in zip(axes, uses.items(), strict=False):
        ranked = use.usage().cpu().sort(descending=True).values
        axis.stairs(ranked.numpy(), fill=True, color="#30638e")
        what, how = ("gates", "were open") if use.are_gates else (categories, "were chosen")
        axis.set(xlim=(0, len(ranked)), xlabel=f"{what}, by rank", ylabel="share")
        live = int((ranked > 0).sum())
        axis.set_title(f"{name}: {live} of {len(ranked)} {what} {how} in training epoch {epoch}", fontsize=10)
    if picture is not None:
        axes[-1].imshow(visible(picture).movedim(0, -1).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
        axes[-1].set_title("what each one decodes to on its own, by rank, row by row", fontsize=10)
        axes[-1].axis("off")
    return figure
