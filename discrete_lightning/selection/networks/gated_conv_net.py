"""A small convolutional network whose channels are gated."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._arguments import check_at_least, check_image_shape
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.selection.gates.by_word import check_pathwise, gate_of


class GatedConvNet(Recorded, nn.Module):
    """Images to logits: stages of 3 x 3 convolution, batch norm, gates, ReLU and pooling; the mean over places; a Linear.

    Args:
        channels: of the stages; each but the last halves height and width.
        gate: one word ("hard_concrete", "stochastic", "bernoulli"), an estimator or its name, for `Gate` with it; None: no
            gates, the plain network of these channels.
        open: how open the gates are at first, see `gate_of`: a network learns little through gates that are half closed.
        options: arguments of the gates by name, such as {"per": "batch"}.
        image_shape: (channels, height, width).
        classes: number of logits.

    Attributes:
        example: an input of one row, to count with.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> from discrete_lightning.selection import NetworkCost
        >>> network = GatedConvNet([8, 16], gate="ReinMax")
        >>> network(torch.zeros(2, 1, 28, 28)).shape, NetworkCost(network, network.example).dense
        (torch.Size([2, 10]), 564800.0)
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64),
        gate: str | Estimator | None = "hard_concrete",
        open: float = 0.95,
        options: dict[str, Any] | None = None,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_at_least(1, classes=classes, **{f"channels[{i}]": each for i, each in enumerate(channels)})
        check_image_shape(image_shape)
        if not channels:
            raise ValueError("channels is empty: give the number of channels of at least one stage")
        if gate is not None:
            check_pathwise(gate)
        self.image_shape = tuple(image_shape)
        sizes = [image_shape[0], *channels]
        convs = [nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(sizes)]
        head = nn.Linear(sizes[-1], classes)
        self.stages = nn.Sequential()
        for i, (conv, consumer) in enumerate(zip(convs, [*convs[1:], head], strict=True)):
            norm = nn.BatchNorm2d(conv.out_channels)
            stage = nn.Sequential(conv, norm)
            if gate is not None:
                gates = gate_of(gate, conv.out_channels, open, dim=1, **(options or {}))
                stage.append(gates.between(conv, [norm], consumer))
            stage.append(nn.ReLU())
            stage.append(nn.MaxPool2d(2) if i < len(convs) - 1 else nn.Identity())
            self.stages.append(stage)
        self.head = head

    @property
    def example(self) -> Tensor:
        """Zeros (1, C, H, W) where the network is."""
        weight = self.head.weight
        return torch.zeros(1, *self.image_shape, dtype=weight.dtype, device=weight.device)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes)."""
        return self.head(self.stages(images).mean((2, 3)))
