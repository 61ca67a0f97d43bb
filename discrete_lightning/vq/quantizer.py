"""What every quantiser is: vectors to codes and back."""

from collections.abc import Iterator
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from discrete_lightning.functional._checks import as_indices, check_floating, host_number, values_can_be_read
from discrete_lightning.functional._mask import positions_mask
from discrete_lightning.functional.keyed_noise import picked_rows
from discrete_lightning.functional.straight_through import straight_through
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.vq.quantized import PADDING, Quantized, fill_padding

_COUNTABLE = 1 << 20


class Quantizer(Recorded, nn.Module):
    """Vectors (..., dim) to discrete codes and back. Models take any Quantizer; Codebook is one with a single table.

    Subclasses define `quantize`, `decode` and `reset_parameters`.

    Attributes:
        dim: dimension of the vectors.
        index_shape: trailing shape of the indices of one vector: () for a Codebook, (groups,) or (depth,) for several.
        has_logits: whether the result holds logits, so that entropy losses apply.
        has_commitment_loss: whether `loss` pulls the vectors to their codes. The gradient of `quantized` then goes to the
            vectors alone (`pass_gradient`), and not to the codes.
    """

    index_shape: tuple[int, ...] = ()
    has_logits: bool = False
    has_commitment_loss: bool = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"{type(self).__name__} needs dim >= 1, got {dim}")
        self.dim = dim

    def forward(self, vectors: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantises vectors.

        Args:
            vectors: shape (..., dim).
            mask: bool, shape (...) or its first dimensions: True at real positions, False at padding. Padding takes no code,
                moves no code, counts in no loss and may hold anything, NaN too: the result is that of `vectors[mask]`, with
                zeros, and indices of -1, at padding. The number of real positions is read on the host, so that an
                accelerator waits once a call.

        Raises:
            ValueError: if vectors are not floating, of another dimension or not finite at a real position, or the mask is not
                bool or of another shape.
        """
        self._check_vectors(vectors)
        if mask is None:
            return self.quantize(vectors)
        packed, real = self._pack(vectors, mask)
        with picked_rows(real, vectors.shape[:-1].numel()):
            result = self.quantize(packed)
        return fill_padding(result, real, vectors.shape[:-1])

    def _pack(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors at real positions (n, dim), and those positions (n,) among the flattened ones."""
        real = positions_mask(mask, vectors.shape[:-1]).reshape(-1).nonzero().squeeze(1)
        return vectors.reshape(-1, self.dim).index_select(0, real), real

    def _check_vectors(self, vectors: Tensor) -> None:
        check_floating(vectors, "vectors")
        if not vectors.ndim or vectors.shape[-1] != self.dim:
            raise ValueError(
                f"{type(self).__name__} quantises vectors of dimension {self.dim}, last; got shape {tuple(vectors.shape)}. "
                "An image (B, C, H, W) has its channels moved last first: x.movedim(1, -1)"
            )

    def quantize(self, vectors: Tensor) -> Quantized:
        """Quantises vectors (..., dim), all of them real; `forward` calls it."""
        raise NotImplementedError

    def decode(self, indices: Tensor) -> Tensor:
        """The codes of `indices` (..., *index_shape), of any integer dtype, as vectors (..., dim).

        The index -1, of padding or of no code, gives zeros.

        Raises:
            ValueError: if indices are not integers or of another shape, or (on the CPU, where looking costs nothing) stand for
                no code.
        """
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draws the parameters and codes again, as the constructor does."""
        raise NotImplementedError

    def residual(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        """What `quantized` leaves of `vectors`, divided by `residual_scale`: the input of the next residual stage."""
        return vectors - quantized

    def residual_scale(self) -> list[float]:
        """The size of a residual in each channel: 1 where codes are learned, the size of a cell where they lie on a grid."""
        return [1.0] * self.dim

    def pass_gradient(self, quantized: Tensor, vectors: Tensor) -> Tensor:
        """`quantized`, with its gradient sent to `vectors`; used where `has_commitment_loss`."""
        return straight_through(quantized, vectors)

    @property
    def frozen(self) -> bool:
        """Whether training changes nothing of it."""
        return not any(each.requires_grad for each in self.parameters())

    def freeze(self) -> Self:
        """Keeps everything of it as it is while what comes before and after it is trained: codes, statistics of their use,
        the start and the revival of codes. Vectors still get their gradient, and samplers still sample.

        The same as `requires_grad_(False)` of the quantiser, or of a model that holds it, and as `freeze` of Lightning's
        BaseFinetuning.

        Example:
            >>> from discrete_lightning.vq import VectorQuantizer
            >>> VectorQuantizer(num_codes=4, dim=2).freeze().frozen
            True
        """
        return self.requires_grad_(False)

    def unfreeze(self) -> Self:
        """Lets training go on from where `freeze` stopped it; the same as `requires_grad_(True)`."""
        return self.requires_grad_(True)

    def codebooks(self) -> "Iterator[Codebook]":
        """The single codebooks, in the order of the indices of one vector."""
        for module in self.modules():
            if isinstance(module, Codebook):
                yield module


class Codebook(Quantizer):
    """A quantiser with one table of codes: vectors (..., dim) to the nearest or sampled code, and its index.

    Callbacks find codebooks by this type. Subclasses define `quantize`, `codes_of` and `reset_parameters`.

    Attributes:
        num_codes: K >= 2.
        collapse_advice: what to change when few of its codes are used, for warnings.
    """

    collapse_advice: ClassVar[str] = "lower the learning rate"

    def __init__(self, num_codes: int, dim: int) -> None:
        if num_codes < 2 or dim < 1:
            raise ValueError(
                f"{type(self).__name__} needs num_codes >= 2, dim >= 1; got num_codes={num_codes}, dim={dim}"
            )
        super().__init__(dim)
        self.num_codes = num_codes

    @property
    def countable(self) -> bool:
        """Whether the use of its codes can be counted one by one (up to 2^20 of them)."""
        return self.num_codes <= _COUNTABLE

    def decode(self, indices: Tensor) -> Tensor:
        indices = as_indices(indices)
        real = indices != PADDING
        if indices.numel() and values_can_be_read(indices):
            low, high = indices.min(), indices.max()
            if not host_number((low >= PADDING) & (high < self.num_codes)):
                raise ValueError(
                    f"{type(self).__name__} has codes 0 to {self.num_codes - 1} (-1: none), got indices from {int(low)} to "
                    f"{int(high)}: are they of another codebook?"
                )
        return torch.where(real.unsqueeze(-1), self.codes_of(torch.where(real, indices, 0)), 0.0)

    def codes_of(self, indices: Tensor) -> Tensor:
        """The codes (..., dim) of integer `indices` (...) in [0, num_codes); `decode` calls it with int64 ones."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"num_codes={self.num_codes}, dim={self.dim}"
