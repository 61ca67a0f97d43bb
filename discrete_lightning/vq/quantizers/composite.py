"""What quantisers made of several equal ones share: independent parts, and indices with one more dimension."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Quantizer


class CompositeQuantizer(Quantizer):
    """Base of ProductQuantizer and ResidualQuantizer.

    Args:
        quantizer: the first part; the others are copies with separate parameters (a Temperature or a LossWeight is copied,
            too; annealing callbacks set them all).
        count: number of parts, >= 1.
        dim: of the vectors.
    """

    def __init__(self, quantizer: Quantizer, count: int, dim: int) -> None:
        super().__init__(dim)
        copies = [quantizer, *(copy.deepcopy(quantizer) for _ in range(count - 1))]
        for each in copies[1:]:
            each.reset_parameters()
        self.quantizers = nn.ModuleList(copies)
        self.index_shape = (count, *quantizer.index_shape)
        self.has_logits, self.has_commitment_loss = quantizer.has_logits, quantizer.has_commitment_loss

    def parts(self) -> list[Quantizer]:
        """The quantisers it is made of."""
        return [cast(Quantizer, each) for each in self.quantizers]

    def reset_parameters(self) -> None:
        for quantizer in self.parts():
            quantizer.reset_parameters()

    def _combine(self, quantized: Tensor, loss: Tensor, results: list[Quantized]) -> Quantized:
        where = quantized.ndim - 1
        logits = [result.logits for result in results if result.logits is not None]
        return Quantized(
            quantized,
            torch.stack([result.indices for result in results], where),
            loss,
            torch.stack(logits, where) if logits else None,
        )

    def _indices_of_parts(self, indices: Tensor) -> list[Tensor]:
        trailing = len(self.index_shape)
        if tuple(indices.shape[indices.ndim - trailing :]) != self.index_shape:
            raise ValueError(
                f"{type(self).__name__} decodes indices of shape (..., {', '.join(map(str, self.index_shape))}), "
                f"got {tuple(indices.shape)}"
            )
        return list(indices.unbind(indices.ndim - trailing))
