"""Finite scalar quantisation as a layer (Mentzer et al. 2023, https://arxiv.org/abs/2309.15505)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_finite
from discrete_lightning.vq.functional.finite_scalar import (
    check_levels,
    finite_scalar,
    finite_scalar_decode,
    finite_scalar_residual,
)
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Codebook


class FiniteScalarQuantizer(Codebook):
    """Rounds each channel to a few levels: a codebook of prod(levels) codes without parameters, which cannot collapse.

    The paper's choices for about 2^8, 2^10, 2^12 and 2^16 codes (table 1): [8, 6, 5], [8, 5, 5, 5], [7, 5, 5, 5, 5] and
    [8, 8, 8, 5, 5, 5].

    Args:
        levels: the number of levels of each channel, integers > 1; `dim` is their number.

    Raises:
        ValueError: if `levels` are not integers > 1; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> quantizer = FiniteScalarQuantizer([8, 5, 5, 5])
        >>> quantizer.num_codes, quantizer(torch.randn(2, 7, 7, 4)).indices.shape
        (1000, torch.Size([2, 7, 7]))
    """

    collapse_advice = (
        "lower the learning rate, or take fewer levels: channels without a gradient stay at their middle level"
    )

    def __init__(self, levels: Sequence[int]) -> None:
        levels = list(levels)
        check_levels(levels)
        super().__init__(math.prod(levels), len(levels))
        self.levels = levels

    def extra_repr(self) -> str:
        return f"levels={self.levels}"

    def quantize(self, vectors: Tensor) -> Quantized:
        check_finite(vectors, "FiniteScalarQuantizer")
        values, indices = finite_scalar(vectors, self.levels)
        return Quantized(values, indices, torch.zeros((), dtype=torch.float32, device=vectors.device))

    def codes_of(self, indices: Tensor) -> Tensor:
        return finite_scalar_decode(indices, self.levels)

    def residual(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        return finite_scalar_residual(vectors, quantized, self.levels)

    def residual_scale(self) -> list[float]:
        return [1 / (2 * (level // 2)) for level in self.levels]

    def reset_parameters(self) -> None:
        """Nothing to draw."""
