"""Residual quantisation (Zeghidour et al. 2021, algorithm 1; https://arxiv.org/abs/2107.03312): each stage quantises the
residual of those before it.

    r_1 = x,   q_i = Q_i(r_i),   r_{i+1} = (r_i - q_i) / s,   quantized = sum_i s^{i-1} q_i

s is 1 where codes are learned; of codes on a fixed grid (finite scalar, look-up-free) it is the size of a cell.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional._keyed import repeated
from discrete_lightning.functional._random import uniform
from discrete_lightning.functional.keyed_noise import picked_rows
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device
from discrete_lightning.layers.reaching import reaching
from discrete_lightning.vq.quantized import Quantized, fill_padding
from discrete_lightning.vq.quantizer import Quantizer
from discrete_lightning.vq.quantizers.composite import CompositeQuantizer, separate_parts


class ResidualQuantizer(ConstantBuffers, CompositeQuantizer):
    """A stack of quantisers, each for the residual of those before it.

    With stages that have a commitment loss (nearest codes), the sum passes its gradient to the vectors as one such quantiser
    does, and each stage's loss pulls the vectors to the sum so far. With stages that sample, the gradient is that of the
    whole computation.

    Fewer stages can be used than there are: `decode` takes the indices of the first ones, `forward` a `depth`, and -1 stands
    for the code of a stage that is left out. With `dropout` the stack is trained for that.

    Args:
        quantizer: any Quantizer: the first stage, copied for the others. Or a list of all stages, which may differ in
            `num_codes`.
        depth: number of stages, >= 1; left out with a list.
        dropout: quantiser dropout (Zeghidour et al. 2021, section III.C), for several bit rates: the share, in [0, 1], of the
            examples (along the first dimension) that in training get a random number of stages, from 1 to all. The codes of
            the stages left out are -1, their logits zeros, and they learn nothing from those examples.

    Raises:
        ValueError: if depth < 1, dropout is not in [0, 1], a quantiser is or holds a ResidualQuantizer, or the quantisers of a
            list cannot be put together; in forward, if a quantiser raises it.

    Example:
        >>> from discrete_lightning.nn import VectorQuantizer
        >>> quantizer = ResidualQuantizer(VectorQuantizer(num_codes=16, dim=8), depth=3)
        >>> result = quantizer(torch.randn(100, 8))
        >>> result.quantized.shape, result.indices.shape
        (torch.Size([100, 8]), torch.Size([100, 3]))
    """

    scales: Tensor

    _may_be_prefix = True

    def __init__(
        self, quantizer: Quantizer | Sequence[Quantizer], depth: int | None = None, dropout: float = 0.0
    ) -> None:
        parts = separate_parts(quantizer, depth, "ResidualQuantizer", "depth")
        if any(isinstance(each, ResidualQuantizer) for part in parts for each in part.modules()):
            raise ValueError(
                "a ResidualQuantizer inside another equals a single one of greater depth: use one with that depth"
            )
        if len({part.dim for part in parts}) > 1:
            raise ValueError(f"stages of one dim are needed, got {', '.join(str(part.dim) for part in parts)}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"ResidualQuantizer: dropout is a share in [0, 1], got {dropout}")
        super().__init__(parts, parts[0].dim)
        self.dropout = float(dropout)
        with real_device():
            scales = [torch.ones(self.dim, dtype=torch.float32)]
            for part in parts[:-1]:
                scales.append(scales[-1] * torch.tensor(part.residual_scale(), dtype=torch.float32))
            self.register_constant("scales", torch.stack(scales))

    def extra_repr(self) -> str:
        return f"dropout={self.dropout}" if self.dropout else ""

    def forward(self, vectors: Tensor, mask: Tensor | None = None, depth: int | None = None) -> Quantized:
        """Quantises vectors, see `Quantizer.forward`.

        Args:
            vectors: shape (..., dim).
            mask: bool, shape (...) or its first dimensions: True at real positions, False at padding.
            depth: the number of stages, 1 to all; the indices then have shape (..., depth, ...). None: all, with `dropout`
                while training.

        Raises:
            ValueError: as `Quantizer.forward`, or if there are not so many stages.
        """
        self._check_vectors(vectors)
        stages = len(self.quantizers)
        if depth is not None and not 1 <= depth <= stages:
            raise ValueError(f"depth must be 1 to {stages}, the number of stages, got {depth}")
        depths = self._draw_depths(vectors) if depth is None and self.training and self.dropout else None
        if mask is None:
            return self._stages(vectors, depth or stages, depths)
        packed, real = self._pack(vectors, mask)
        depths = None if depths is None else depths.reshape(-1).index_select(0, real)
        with picked_rows(real, vectors.shape[:-1].numel()):
            result = self._stages(packed, depth or stages, depths)
        return fill_padding(result, real, vectors.shape[:-1])

    def quantize(self, vectors: Tensor) -> Quantized:
        return self._stages(vectors, len(self.quantizers), None)

    def _draw_depths(self, vectors: Tensor) -> Tensor:
        """The number of stages of each position, the same within an example."""
        examples, device = vectors.shape[:-1][:1], vectors.device
        generator = repeated(rank_generator(device), 2)
        u = uniform((2, *examples), dtype=torch.float32, device=device, generator=generator)
        stages = len(self.quantizers)
        drawn = (u[0] * stages).long().clamp_max(stages - 1) + 1
        depths = torch.where(u[1] < self.dropout, drawn, stages)
        return depths.view(*examples, *[1] * (vectors.ndim - 1 - len(examples))).expand(vectors.shape[:-1])

    def _stages(self, vectors: Tensor, depth: int, depths: Tensor | None) -> Quantized:
        """The first `depth` stages, of each vector as many as `depths` (...) says."""
        results, codes, rest = [], [], vectors
        for stage, (quantizer, scale) in enumerate(zip(self.parts()[:depth], self.scales[:depth], strict=True)):
            result = quantizer(rest) if depths is None or not stage else quantizer(rest, depths > stage)
            results.append(result)
            code = result.quantized.detach() if self.has_commitment_loss else result.quantized
            codes.append(code * scale.to(code.dtype))
            rest = quantizer.residual(rest, code)
        total = torch.stack(codes).sum(0)
        quantized = self.parts()[0].pass_gradient(total, vectors) if self.has_commitment_loss else total
        losses = [result.loss for result in results]
        return self._combine(reaching(quantized, losses), torch.stack(losses).sum(), results)

    def decode(self, indices: Tensor) -> Tensor:
        """The codes of `indices` (..., *index_shape), or of the first n stages (..., n, ...), as vectors (..., dim).

        A stage whose index is -1 adds nothing. Errors are those of `Quantizer.decode`.
        """
        stages = zip(self.parts(), self._indices_of_parts(indices), self.scales, strict=False)
        return torch.stack([quantizer.decode(index) * scale for quantizer, index, scale in stages]).sum(0)
