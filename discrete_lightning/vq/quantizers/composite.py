"""What quantisers made of several share: independent parts, and indices with one more dimension."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Quantizer


class CompositeQuantizer(Quantizer):
    """Base of ProductQuantizer and ResidualQuantizer.

    Args:
        parts: the quantisers, see `separate_parts`.
        dim: of the vectors.
    """

    def __init__(self, parts: Sequence[Quantizer], dim: int) -> None:
        super().__init__(dim)
        self.quantizers = nn.ModuleList(parts)
        self.index_shape = (len(parts), *parts[0].index_shape)
        self.has_logits, self.has_commitment_loss = parts[0].has_logits, parts[0].has_commitment_loss

    _may_be_prefix = False

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
        """The indices of each part, or of the first ones if `_may_be_prefix`."""
        trailing = len(self.index_shape)
        found = indices.shape[indices.ndim - trailing] if indices.ndim >= trailing else 0
        if found != self.index_shape[0] and not (self._may_be_prefix and 1 <= found < self.index_shape[0]):
            first = f"1 to {self.index_shape[0]}" if self._may_be_prefix else str(self.index_shape[0])
            raise ValueError(
                f"{type(self).__name__} decodes indices of shape (..., {', '.join([first, *map(str, self.index_shape[1:])])}), "
                f"got {tuple(indices.shape)}"
            )
        return list(indices.unbind(indices.ndim - trailing))


def separate_parts(
    quantizer: Quantizer | Sequence[Quantizer], count: int | None, owner: str, name: str
) -> list[Quantizer]:
    """The quantisers that `owner` is made of.

    Args:
        quantizer: the first part, of which the others are copies with separate parameters (a Temperature or a LossWeight is
            copied, too; annealing callbacks set them all); or all of them.
        count: number of parts, >= 1; None where all are given.
        owner: for errors.
        name: what `owner` calls `count`.

    Raises:
        ValueError: if `count` is missing, < 1 or another one, or the parts cannot be put together.
    """
    if isinstance(quantizer, Quantizer):
        if count is None or count < 1:
            raise ValueError(f"{owner} needs {name} >= 1, got {count}; or a list of quantisers")
        copies = [quantizer, *(copy.deepcopy(quantizer) for _ in range(count - 1))]
        for each in copies[1:]:
            each.reset_parameters()
        return copies
    parts = list(quantizer)
    if not parts or count not in (None, len(parts)):
        raise ValueError(f"{owner} got a list of {len(parts)} quantisers and {name}={count}; leave {name} out")
    if len({id(each) for each in parts}) < len(parts):
        raise ValueError(
            f"{owner}: one quantiser is in the list twice; parts are separate, so make two, or copy.deepcopy it"
        )
    kinds = {_kind(each) for each in parts}
    if len(kinds) > 1:
        raise ValueError(
            f"{owner}: its quantisers must have one index_shape, and all or none of them a commitment loss and logits (over "
            f"equally many codes); got {', '.join(type(each).__name__ for each in parts)}"
        )
    return parts


def _kind(part: Quantizer) -> tuple[object, ...]:
    sizes = tuple(each.num_codes for each in part.codebooks()) if part.has_logits else ()
    return part.index_shape, part.has_commitment_loss, part.has_logits, sizes
