"""What every quantiser is, and what it returns."""

from typing import ClassVar, NamedTuple

from torch import Tensor, nn


class Quantized(NamedTuple):
    """What every quantiser returns.

    Attributes:
        quantized: vectors (..., dim), of the input's dtype, with a gradient to the input.
        indices: int64 (...): the code of each vector.
        loss: 0-dim float32: what the quantiser adds to the loss (commitment); 0 if nothing.
        logits: (..., num_codes) for a quantiser that samples from a distribution, else None.
    """

    quantized: Tensor
    indices: Tensor
    loss: Tensor
    logits: Tensor | None = None


class Codebook(nn.Module):
    """A quantiser with one table of codes: vectors (..., dim) to the nearest or sampled code, and its index.

    Callbacks and models find codebooks by this type. Subclasses define `forward` and `decode`.

    Attributes:
        num_codes: K >= 2.
        dim: dimension of the vectors.
        has_logits: whether `forward` returns logits, so that entropy losses apply.
    """

    has_logits: ClassVar[bool] = False

    def __init__(self, num_codes: int, dim: int) -> None:
        super().__init__()
        if num_codes < 2 or dim < 1:
            raise ValueError(f"a codebook needs num_codes >= 2 and dim >= 1, got num_codes={num_codes}, dim={dim}")
        self.num_codes, self.dim = num_codes, dim

    def extra_repr(self) -> str:
        return f"num_codes={self.num_codes}, dim={self.dim}"

    def forward(self, vectors: Tensor) -> Quantized:
        """Quantises vectors of shape (..., dim)."""
        raise NotImplementedError

    def decode(self, indices: Tensor) -> Tensor:
        """The codes of int64 `indices` (...), as vectors (..., dim)."""
        raise NotImplementedError

    def _check_input(self, vectors: Tensor) -> None:
        if vectors.shape[-1] != self.dim:
            raise ValueError(
                f"{type(self).__name__} quantises vectors of dimension {self.dim}, last; got shape {tuple(vectors.shape)}. "
                "An image (B, C, H, W) has its channels moved last first: x.movedim(1, -1)"
            )
