"""What every quantiser is, and what it returns."""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from discrete_lightning.functional import straight_through

_COUNTABLE = 1 << 20


class Quantized(NamedTuple):
    """What every quantiser returns.

    Attributes:
        quantized: vectors (..., dim), of the input's dtype, with a gradient to the input.
        indices: int64 (..., *index_shape): the code of each vector, or the codes of a quantiser made of several.
        loss: 0-dim float32: what the quantiser adds to the loss (commitment); 0 if nothing.
        logits: (..., *index_shape, num_codes) for a quantiser that samples from a distribution, else None.
    """

    quantized: Tensor
    indices: Tensor
    loss: Tensor
    logits: Tensor | None = None


class Quantizer(nn.Module):
    """Vectors (..., dim) to discrete codes and back. Models take any Quantizer; Codebook is one with a single table.

    Subclasses define `forward`, `decode` and `reset_parameters`.

    Attributes:
        dim: dimension of the vectors.
        index_shape: trailing shape of the indices of one vector: () for a Codebook, (groups,) or (depth,) for several.
        has_logits: whether `forward` returns logits, so that entropy losses apply.
        commits: whether `quantized` only carries its gradient on to the vectors, and `loss` pulls these to their codes.
    """

    index_shape: tuple[int, ...] = ()
    has_logits: bool = False
    commits: bool = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"{type(self).__name__} needs dim >= 1, got {dim}")
        self.dim = dim

    def forward(self, vectors: Tensor) -> Quantized:
        """Quantises vectors of shape (..., dim)."""
        raise NotImplementedError

    def decode(self, indices: Tensor) -> Tensor:
        """The codes of int64 `indices` (..., *index_shape), as vectors (..., dim)."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draws the parameters and codes anew, as the constructor does."""
        raise NotImplementedError

    def remainder(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        """What is left of `vectors` once they are quantised, in the range that this quantiser takes."""
        return vectors - quantized

    def finer(self) -> list[float]:
        """The size, for each channel, of a remainder: 1 where codes have no scale of their own."""
        return [1.0] * self.dim

    def carry(self, quantized: Tensor, vectors: Tensor) -> Tensor:
        """`quantized`, with its gradient sent to `vectors`: for quantisers that commit."""
        return straight_through(quantized, vectors)

    def codebooks(self) -> "Iterator[Codebook]":
        """The single codebooks, in the order of the indices of one vector."""
        for module in self.modules():
            if isinstance(module, Codebook):
                yield module

    def _check_input(self, vectors: Tensor) -> None:
        if not vectors.ndim or vectors.shape[-1] != self.dim:
            raise ValueError(
                f"{type(self).__name__} quantises vectors of dimension {self.dim}, last; got shape {tuple(vectors.shape)}. "
                "An image (B, C, H, W) has its channels moved last first: x.movedim(1, -1)"
            )


class Codebook(Quantizer):
    """A quantiser with one table of codes: vectors (..., dim) to the nearest or sampled code, and its index.

    Callbacks find codebooks by this type.

    Attributes:
        num_codes: K >= 2.
        remedy: what to turn when few of its codes are used, for warnings.
    """

    remedy: ClassVar[str] = "lower the learning rate"

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

    def extra_repr(self) -> str:
        return f"num_codes={self.num_codes}, dim={self.dim}"
