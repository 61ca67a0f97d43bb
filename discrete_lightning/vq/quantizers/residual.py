"""Residual quantisation (Zeghidour et al. 2021, algorithm 1; https://arxiv.org/abs/2107.03312): each stage quantises the
residual of those before it.

    r_1 = x,   q_i = Q_i(r_i),   r_{i+1} = (r_i - q_i) / s,   quantized = sum_i s^{i-1} q_i

s is 1 where codes are learned; of codes on a fixed grid (finite scalar, look-up-free) it is the size of a cell.
"""

import torch
from torch import Tensor

from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Quantizer
from discrete_lightning.vq.quantizers.composite import CompositeQuantizer
from discrete_lightning.vq.reaching import reaching


class ResidualQuantizer(ConstantBuffers, CompositeQuantizer):
    """A stack of quantisers, each for the residual of those before it.

    With stages that have a commitment loss (nearest codes), the sum passes its gradient to the vectors as one such quantiser
    does, and each stage's loss pulls the vectors to the sum so far. With stages that sample, the gradient is that of the
    whole computation.

    Args:
        quantizer: any Quantizer: the first stage, copied for the others.
        depth: number of stages, >= 1.

    Raises:
        ValueError: if depth < 1, or the quantiser is or holds a ResidualQuantizer; in forward, if the quantiser
            raises it.

    Example:
        >>> from discrete_lightning.nn import VectorQuantizer
        >>> quantizer = ResidualQuantizer(VectorQuantizer(num_codes=16, dim=8), depth=3)
        >>> result = quantizer(torch.randn(100, 8))
        >>> result.quantized.shape, result.indices.shape
        (torch.Size([100, 8]), torch.Size([100, 3]))
    """

    scales: Tensor

    def __init__(self, quantizer: Quantizer, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"ResidualQuantizer needs depth >= 1, got {depth}")
        if any(isinstance(each, ResidualQuantizer) for each in quantizer.modules()):
            raise ValueError(
                "a ResidualQuantizer inside another equals a single one of greater depth: use one with that depth"
            )
        super().__init__(quantizer, depth, quantizer.dim)
        with real_device():
            scale = torch.tensor(quantizer.residual_scale(), dtype=torch.float32)
            self.register_constant("scales", torch.stack([scale**stage for stage in range(depth)]))

    def quantize(self, vectors: Tensor) -> Quantized:
        results, codes, rest = [], [], vectors
        for quantizer, scale in zip(self.parts(), self.scales, strict=True):
            result = quantizer(rest)
            results.append(result)
            code = result.quantized.detach() if self.has_commitment_loss else result.quantized
            codes.append(code * scale.to(code.dtype))
            rest = quantizer.residual(rest, code)
        total = torch.stack(codes).sum(0)
        quantized = self.parts()[0].pass_gradient(total, vectors) if self.has_commitment_loss else total
        losses = [result.loss for result in results]
        return self._combine(reaching(quantized, losses), torch.stack(losses).sum(), results)

    def decode(self, indices: Tensor) -> Tensor:
        stages = zip(self.parts(), self._indices_of_parts(indices), self.scales, strict=True)
        return torch.stack([quantizer.decode(index) * scale for quantizer, index, scale in stages]).sum(0)
