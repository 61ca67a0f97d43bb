"""Factorised codes (Yu et al. 2021, section 3.2, https://arxiv.org/abs/2110.04627; in a residual stack, Kumar et al. 2023,
https://arxiv.org/abs/2306.06546): codes are looked up among few dimensions of the vectors.

    quantized = U q(D x),   D: dim -> few,   U: few -> dim,   both learned
"""

import torch
from torch import Tensor, nn

from discrete_lightning.functional._checks import check_finite
from discrete_lightning.functional._precision import float32, float32_matmul, without_autocast
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Quantizer


class FactorizedQuantizer(Quantizer):
    """A quantiser of few dimensions between two learned linear maps: from `dim` dimensions down to them, and back up.

    Among few dimensions, with a VectorQuantizer best 8 to 32 and of `distance="cosine"`, more of many codes are used than among
    hundreds. The gradient of `quantized` trains both maps, and passes the quantiser in the middle as that one says. As stages
    of a ResidualQuantizer each has maps of its own.

    Args:
        quantizer: any Quantizer; its `dim` is the number of dimensions of the codes.
        dim: of the vectors, >= that of the quantiser.

    Raises:
        ValueError: if dim is smaller than the quantiser's; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> from discrete_lightning.nn import VectorQuantizer
        >>> quantizer = FactorizedQuantizer(VectorQuantizer(num_codes=16, dim=8, distance="cosine"), dim=64)
        >>> result = quantizer(torch.randn(100, 64))
        >>> result.quantized.shape, result.indices.shape
        (torch.Size([100, 64]), torch.Size([100]))
    """

    def __init__(self, quantizer: Quantizer, dim: int) -> None:
        super().__init__(dim)
        if dim < quantizer.dim:
            raise ValueError(
                f"FactorizedQuantizer looks up codes in fewer dimensions than those of the vectors: dim={dim} is less than the "
                f"quantiser's, {quantizer.dim}"
            )
        self.quantizer = quantizer
        self.index_shape, self.has_logits = quantizer.index_shape, quantizer.has_logits
        # its loss pulls D x to codes, not the vectors, and the gradient of `quantized` goes through both maps
        self.has_commitment_loss = False
        self.down = nn.Parameter(torch.empty(quantizer.dim, dim))
        self.up = nn.Parameter(torch.empty(dim, quantizer.dim))
        self._draw_maps()

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

    @torch.no_grad()
    def _draw_maps(self) -> None:
        """Orthogonal ones, so that U D x is a projection of x."""
        nn.init.orthogonal_(self.down)
        self.up.copy_(self.down.t())

    def reset_parameters(self) -> None:
        self._draw_maps()
        self.quantizer.reset_parameters()

    def forward(self, vectors: Tensor, mask: Tensor | None = None, indices: Tensor | None = None) -> Quantized:
        """Quantises vectors, see `Quantizer.forward`; `indices` as of a NearestCodeQuantizer, if it is one in the middle."""
        if indices is None:
            return super().forward(vectors, mask)
        self._check_vectors(vectors)
        return self.quantize(vectors, indices)

    def quantize(self, vectors: Tensor, indices: Tensor | None = None) -> Quantized:
        check_finite(vectors, type(self).__name__)
        low = _linear(vectors, self.down)
        result: Quantized = self.quantizer(low) if indices is None else self.quantizer(low, indices=indices)
        return result._replace(quantized=_linear(result.quantized, self.up).to(vectors.dtype))

    def look_up(self, vectors: Tensor) -> Tensor:
        """The indices of vectors, of a quantiser that has a `look_up`: see NearestCodeQuantizer."""
        indices: Tensor = self.quantizer.look_up(_linear(vectors, self.down))  # type: ignore[operator]
        return indices

    def decode(self, indices: Tensor) -> Tensor:
        return _linear(self.quantizer.decode(indices), self.up)


@without_autocast
@float32_matmul
def _linear(x: Tensor, weight: Tensor) -> Tensor:
    x = float32(x)
    return nn.functional.linear(x, weight.to(x.dtype))
