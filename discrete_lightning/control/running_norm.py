"""Running mean and variance of what a run has seen, over all ranks (Chan et al. 1983, https://doi.org/10.2307/2683386)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.distributed import all_reduce_sum
from discrete_lightning.functional._precision import float32
from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.private_state import PrivateState

_CLIP = 10.0


class RunningNorm(PrivateState, Float32State):
    """x to (x - mean) / sqrt(variance + 1e-8), clipped to [-10, 10]; x itself before the first `update`.

    Args:
        shape: of one x.

    Example:
        >>> norm = RunningNorm([1])
        >>> norm.update(torch.tensor([[1.0], [3.0]]))
        >>> norm(torch.tensor([[2.0], [3.0]])).flatten()
        tensor([0., 1.])
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        for name, size in (("count", ()), ("mean", shape), ("squares", shape)):
            self.register_private(name, torch.zeros(tuple(size), dtype=torch.float32, device=real_device()))

    @property
    def variance(self) -> Tensor:
        """Of all seen; 1 where nothing was seen."""
        return torch.where(self.count > 0, self.squares / self.count.clamp_min(1), 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Normed x, float32."""
        scaled = (float32(x) - self.mean) * torch.rsqrt(self.variance + 1e-8)
        return torch.where(self.count > 0, scaled.clamp(-_CLIP, _CLIP), float32(x))

    def scaled(self, x: Tensor) -> Tensor:
        """That is, x / sqrt(variance + 1e-8), clipped, without a shift of the mean: for rewards, whose sign matters."""
        return (float32(x) * torch.rsqrt(self.variance + 1e-8)).clamp(-_CLIP, _CLIP)

    @torch.no_grad()
    def update(self, x: Tensor, counted: Tensor | None = None) -> None:
        """Adds rows x (..., *shape) of all ranks.

        Args:
            x: what was seen.
            counted: bool (...), False at rows that do not count.
        """
        rows = float32(x).reshape(-1, *self.mean.shape)
        keep = torch.ones(len(rows), device=rows.device) if counted is None else counted.reshape(-1).to(rows)
        weights = keep.view(-1, *[1] * self.mean.ndim)
        rows = torch.where(weights > 0, rows, 0.0)
        sums = all_reduce_sum(torch.cat([keep.sum().view(1), rows.sum(0).flatten()]))
        number = sums[0]
        mean = sums[1:].view(self.mean.shape) / number.clamp_min(1)
        squares = all_reduce_sum(((rows - mean).square() * weights).sum(0))
        total = (self.count + number).clamp_min(1)
        shift = mean - self.mean
        self.squares.add_(squares + shift.square() * self.count * number / total)
        self.mean.add_(shift * number / total)
        self.count.add_(number)
