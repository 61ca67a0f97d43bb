"""The base of the experts of a mixture: N functions of tokens, run on rows that are sorted by expert."""

from torch import Tensor, nn


class Experts(nn.Module):
    """N experts f_i: R^d -> R^d. Weights of all experts are stacked, so that none is ever unused in DistributedDataParallel.

    Attributes:
        count: N.
        dim: d.
    """

    count: int
    dim: int

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        """What each expert makes of its rows.

        Args:
            rows: (M, d), sorted by expert.
            ends: int32 (N,), where the rows of each expert end; rows behind the last end belong to none.

        Returns:
            (M, d); zeros in rows that belong to none.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"count={self.count}, dim={self.dim}"
