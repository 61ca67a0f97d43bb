"""A dilated residual CNN of sequences, the kind that predicts accessibility and expression (Kelley et al. 2018,
https://doi.org/10.1101/gr.227819.117): convolution, then residual blocks of dilation 1, 2, 4 ..., then the mean over places.
"""

import torch
from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.recorded import Recorded


class SequenceCNN(Recorded, nn.Module):
    """Scores sequences (batch, letters, length).

    Args:
        letters: the number of letters of the alphabet.
        channels: the number of channels of every layer.
        layers: the number of residual blocks; block i has dilation 2^i.
        width: of the first convolution, odd.
        pool: "mean" over positions, or "flatten" for short sequences of one length in which positions matter.
        length: of the sequences; only for "flatten".

    Example:
        >>> SequenceCNN(letters=4, channels=8, layers=2)(torch.zeros(3, 4, 50)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        letters: int = 4,
        channels: int = 64,
        layers: int = 8,
        width: int = 21,
        pool: str = "mean",
        length: int | None = None,
    ) -> None:
        super().__init__()
        check_at_least(1, letters=letters, channels=channels, width=width)
        check_at_least(0, layers=layers)
        if width % 2 == 0:
            raise ValueError(f"width must be odd, got {width}")
        if (pool == "flatten") != (length is not None) or pool not in ("mean", "flatten"):
            raise ValueError(f"SequenceCNN: pool is 'mean', or 'flatten' together with length; got {pool=}, {length=}")
        self.first = nn.Conv1d(letters, channels, width, padding=width // 2)
        self.blocks = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, dilation=2**i, padding=2**i) for i in range(layers)
        )
        self.pool = pool
        self.last = nn.Linear(channels if length is None else channels * length, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,)."""
        hidden = torch.relu(self.first(x))
        for block in self.blocks:
            hidden = hidden + torch.relu(block(hidden))
        pooled = hidden.mean(-1) if self.pool == "mean" else hidden.flatten(1)
        return self.last(pooled).squeeze(1)
