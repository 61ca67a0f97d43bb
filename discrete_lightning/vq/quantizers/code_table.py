"""A codebook whose codes are a table in memory, which can be one that was made elsewhere."""

from typing import Any, Self

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_floating
from discrete_lightning.vq.quantizer import Codebook


class CodeTable(Codebook):
    """Base of the codebooks with a table of codes: of all but those that compute their codes.

    Attributes:
        codes: (K, D), float32.
    """

    codes: Tensor

    @classmethod
    def from_codes(cls, codes: Tensor, **arguments: Any) -> Self:
        """A codebook of these codes.

        Args:
            codes: (K, D), floating and finite.
            arguments: the others of the constructor, by name.

        Raises:
            ValueError: if the codes have no two dimensions, are not floating or not finite.

        Example:
            >>> from discrete_lightning.vq import VectorQuantizer
            >>> table = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
            >>> VectorQuantizer.from_codes(table, decay=0.99)(table[2]).indices
            tensor(2)
        """
        if codes.ndim != 2:
            raise ValueError(f"a table of codes has shape (num_codes, dim), got {tuple(codes.shape)}")
        quantizer = cls(*codes.shape, **arguments)
        quantizer.set_codes(codes)
        return quantizer

    @torch.no_grad()
    def set_codes(self, codes: Tensor) -> None:
        """Sets the table, for good: no start on the first batch replaces it, and training goes on from it.

        Args:
            codes: (K, D), floating and finite.

        Raises:
            ValueError: if the codes are of another shape, not floating or not finite.
        """
        check_floating(codes, "codes")
        if tuple(codes.shape) != (self.num_codes, self.dim):
            raise ValueError(
                f"{type(self).__name__} has codes of shape {(self.num_codes, self.dim)}, got {tuple(codes.shape)}"
            )
        if wrong := int((~codes.isfinite()).any(-1).sum()):
            raise ValueError(f"{wrong} of {len(codes)} codes are not finite")
        self.codes.copy_(codes)


@torch.no_grad()
def fingerprint(codes: Tensor) -> int | None:
    """A number that differs where codes do; None if they have no values here (the meta device, FSDP).

    Example:
        >>> fingerprint(torch.ones(2, 3)) == fingerprint(torch.ones(2, 3)), fingerprint(torch.ones(2, 3, device="meta"))
        (True, None)
    """
    if type(codes.data) is not Tensor or codes.is_meta or codes.dtype != torch.float32:
        return None
    return int(codes.detach().contiguous().view(torch.int32).sum())
