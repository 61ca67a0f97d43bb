"""Finite scalar perturbation (FSP: Zhai et al. 2026, VP-VAE, https://arxiv.org/abs/2602.17133).

    u = (1 + tanh x) / 2,   a cumulative distribution function: u is uniform in (0, 1) where x has its density
    training: u' = u + n,   n ~ U(-1 / 2L, 1 / 2L),   or u where u + n leaves (0, 1)
    eval(): u' = (floor(L u) + 1/2) / L,   the centres of L equal cells: the Lloyd-Max levels of a uniform u
    quantized = sqrt(12) (u' - 1/2),   of variance 1 for a uniform u

A decoder that was trained on errors as large as a cell's is ready for the cells, and no gradient has to pass a rounding. The
loss keeps mean and variance of x at those of the density, 0 and pi^2 / 12. The idea is the paper's; density,
weights of the loss and what happens at the ends are ours.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.distributed import global_mean, rank_generator
from discrete_lightning.functional._checks import as_indices, check_finite
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import uniform
from discrete_lightning.functional.straight_through import straight_through
from discrete_lightning.vq.functional.finite_scalar import check_levels
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Codebook

_ROOT = math.sqrt(12)
_VARIANCE = math.pi**2 / 12  # of the density of (1 + tanh x) / 2, the logistic one of scale 1/2


class FiniteScalarPerturbation(Codebook):
    """A grid of prod(levels) codes without parameters: training adds uniform noise of a cell's size, eval() rounds.

    While training, `quantized` is no code, and `indices` are the cells of the vectors themselves.

    Args:
        levels: the number of levels of each channel, integers > 1; `dim` is their number.
        mean: weight of the loss on the mean of each channel, >= 0.
        variance: weight of the loss on the variance of each channel, >= 0.

    Raises:
        ValueError: if `levels` are not integers > 1 or a weight is negative; in forward, if vectors are not finite or of
            another dimension.

    Example:
        >>> quantizer = FiniteScalarPerturbation([8, 5, 5, 5]).eval()
        >>> quantizer.num_codes, [round(x, 3) for x in quantizer(torch.zeros(4)).quantized.tolist()]
        (1000, [0.217, 0.0, 0.0, 0.0])
    """

    collapse_advice = "raise the weights of mean and variance, or take fewer levels"

    def __init__(self, levels: Sequence[int], mean: float = 0.1, variance: float = 0.07) -> None:
        levels = list(levels)
        check_levels(levels)
        super().__init__(math.prod(levels), len(levels))
        for name, weight in (("mean", mean), ("variance", variance)):
            if not weight >= 0:
                raise ValueError(f"FiniteScalarPerturbation: {name} must be >= 0, got {weight!r}")
        self.levels, self.mean, self.variance = levels, mean, variance

    def extra_repr(self) -> str:
        return f"levels={self.levels}"

    def quantize(self, vectors: Tensor) -> Quantized:
        check_finite(vectors, "FiniteScalarPerturbation")
        x = float32(vectors)
        levels = x.new_tensor(self.levels)
        u = _share(x)
        cells = _cells(u, levels)
        moved = self._perturbed(u, levels) if self.training else straight_through((cells + 0.5) / levels, u)
        indices = (cells.long() * self._places(x.device)).sum(-1)
        loss = self._loss(x) if self.training else x.new_zeros((), dtype=torch.float32)
        return Quantized(((moved - 0.5) * _ROOT).to(vectors.dtype), indices, loss)

    def _perturbed(self, u: Tensor, levels: Tensor) -> Tensor:
        drawn = uniform(u.shape, dtype=torch.float32, device=u.device, generator=rank_generator(u.device)).to(u.dtype)
        moved = u + (drawn - 0.5) / levels
        return torch.where((moved > 0) & (moved < 1), moved, u)

    def _loss(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, self.dim)
        sums = torch.cat([flat.sum(0), flat.square().sum(0)])
        mean, square = global_mean(sums, len(flat)).chunk(2)
        variance = square - mean.square()
        return self.mean * mean.square().mean() + self.variance * (variance - _VARIANCE).square().mean()

    def codes_of(self, indices: Tensor) -> Tensor:
        indices = as_indices(indices)
        levels = torch.tensor(self.levels, device=indices.device)
        digits = torch.div(indices.unsqueeze(-1), self._places(indices.device), rounding_mode="floor") % levels
        return ((digits.float() + 0.5) / levels - 0.5) * _ROOT

    def residual(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        """Where u lies within a cell around `quantized`, stretched to (0, 1), as the x of that share."""
        x = float32(vectors)
        within = (_share(x) - (float32(quantized) / _ROOT + 0.5)) * x.new_tensor(self.levels) + 0.5
        return torch.atanh((2 * within - 1).clamp(-0.999, 0.999)).to(vectors.dtype)

    def residual_scale(self) -> list[float]:
        return [1 / level for level in self.levels]

    def _places(self, device: torch.device) -> Tensor:
        return torch.tensor([math.prod(self.levels[:i]) for i in range(self.dim)], device=device)

    def reset_parameters(self) -> None:
        """Nothing to draw."""


def _share(x: Tensor) -> Tensor:
    return (torch.tanh(x) + 1) / 2


def _cells(u: Tensor, levels: Tensor) -> Tensor:
    return (u.detach() * levels).floor().clamp_min(0).minimum(levels - 1)
