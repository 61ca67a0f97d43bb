"""Product quantisation (Jegou et al. 2011, https://doi.org/10.1109/TPAMI.2010.57): each part of a vector has its own codebook.

K codes in each of G groups stand for K^G vectors.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Quantizer
from discrete_lightning.vq.quantizers.composite import CompositeQuantizer, separate_parts


class ProductQuantizer(CompositeQuantizer):
    """Cuts vectors into groups of channels and quantises each by a separate quantiser.

    Args:
        quantizer: any Quantizer: that of the first group, copied for the others. Or a list of one for each group, which may
            differ in `num_codes` and `dim`.
        groups: G >= 1; left out with a list. `dim` is the sum of the quantisers'.

    Raises:
        ValueError: if groups < 1, or the quantisers of a list cannot be put together; in forward, if a quantiser raises it.

    Example:
        >>> from discrete_lightning.nn import VectorQuantizer
        >>> quantizer = ProductQuantizer(VectorQuantizer(num_codes=16, dim=4), groups=2)
        >>> result = quantizer(torch.randn(5, 8))
        >>> result.quantized.shape, result.indices.shape
        (torch.Size([5, 8]), torch.Size([5, 2]))
    """

    def __init__(self, quantizer: Quantizer | Sequence[Quantizer], groups: int | None = None) -> None:
        parts = separate_parts(quantizer, groups, "ProductQuantizer", "groups")
        super().__init__(parts, sum(each.dim for each in parts))

    def quantize(self, vectors: Tensor) -> Quantized:
        results = [quantizer(part) for quantizer, part in zip(self.parts(), self._cut(vectors), strict=True)]
        quantized = torch.cat([result.quantized for result in results], -1)
        # each is a mean over its channels
        shares = [quantizer.dim / self.dim for quantizer in self.parts()]
        loss = torch.stack([result.loss * share for result, share in zip(results, shares, strict=True)]).sum()
        return self._combine(quantized, loss, results)

    def decode(self, indices: Tensor) -> Tensor:
        codes = zip(self.parts(), self._indices_of_parts(indices), strict=True)
        return torch.cat([quantizer.decode(index) for quantizer, index in codes], -1)

    def residual(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        groups = zip(self.parts(), self._cut(vectors), self._cut(quantized), strict=True)
        return torch.cat([quantizer.residual(vector, code) for quantizer, vector, code in groups], -1)

    def residual_scale(self) -> list[float]:
        return [scale for quantizer in self.parts() for scale in quantizer.residual_scale()]

    def pass_gradient(self, quantized: Tensor, vectors: Tensor) -> Tensor:
        groups = zip(self.parts(), self._cut(quantized), self._cut(vectors), strict=True)
        return torch.cat([quantizer.pass_gradient(code, vector) for quantizer, code, vector in groups], -1)

    def _cut(self, vectors: Tensor) -> tuple[Tensor, ...]:
        return vectors.split([quantizer.dim for quantizer in self.parts()], dim=-1)
