"""How a codebook is used: perplexity and live codes, over all tokens of all ranks. Also for experts, gates and actions."""

import torch
from torch import Tensor
from torchmetrics import Metric

from discrete_lightning.functional import perplexity
from discrete_lightning.functional._checks import as_indices
from discrete_lightning.functional._mask import positions_mask


def count_indices(indices: Tensor, count: int, mask: Tensor | None = None) -> Tensor:
    """How often each of `count` categories occurs among `indices`. No value is read on the host, so that a GPU never waits.

    Args:
        indices: integers, any shape, in [0, count) where they count.
        count: K.
        mask: bool, of the shape of `indices` or of its first dimensions; True where an index counts. Others are ignored.

    Returns:
        int64 (K,).

    Example:
        >>> count_indices(torch.tensor([0, 2, 2, 9]), 3, mask=torch.tensor([True, True, True, False]))
        tensor([1, 0, 2])
    """
    indices = as_indices(indices)
    weights = torch.ones_like(indices, dtype=torch.float32)
    if mask is not None:
        counted = positions_mask(mask, indices.shape)
        indices, weights = torch.where(counted, indices, 0), counted.float()
    # not bincount, whose length depends on the values; float32, which every device adds, is exact up to 2^24 of a code
    counts = torch.zeros(count, dtype=torch.float32, device=indices.device)
    return counts.index_add_(0, indices.reshape(-1), weights.reshape(-1)).to(torch.int64)


class _CodeCounts(Metric):
    """Counts of the codes seen since the last reset; summed over ranks when computed."""

    is_differentiable = False
    full_state_update = False
    counts: Tensor

    def __init__(self, num_codes: int) -> None:
        super().__init__()
        if num_codes < 1:
            raise ValueError(f"num_codes must be at least 1, got {num_codes}")
        self.num_codes = num_codes
        self.add_state("counts", torch.zeros(num_codes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, indices: Tensor, mask: Tensor | None = None) -> None:
        """Counts integer `indices` of any shape, in [0, num_codes).

        Args:
            indices: the codes chosen.
            mask: bool, of the shape of `indices` or of its first dimensions; False where an index does not count.

        Raises:
            ValueError: if indices are not integers, the mask is not bool or of another shape, or an index is out of range
                (checked on the CPU only: a GPU would have to wait).
        """
        indices = as_indices(indices)
        if indices.device.type == "cpu":
            self._check_range(indices if mask is None else indices[positions_mask(mask, indices.shape)])
        # a new tensor: a state that inference mode made (validate before fit) must not be changed in place
        self.counts = self.counts + count_indices(indices, self.num_codes, mask)

    def _check_range(self, indices: Tensor) -> None:
        wrong = indices[(indices < 0) | (indices >= self.num_codes)]
        if len(wrong):
            raise ValueError(
                f"code {int(wrong[0])} is out of range for num_codes={self.num_codes}: it must be that of the codebook"
            )


class CodePerplexity(_CodeCounts):
    """exp(entropy of code use) in [1, K]: the effective number of codes. Over a whole epoch, not a mean over batches.

    Example:
        >>> metric = CodePerplexity(num_codes=8)
        >>> metric.update(torch.tensor([[0, 0], [1, 1]]))
        >>> metric.compute()
        tensor(2.)
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        return perplexity(self.counts)


class LiveCodes(_CodeCounts):
    """Number of codes chosen at least once, in [0, K].

    Example:
        >>> metric = LiveCodes(num_codes=8)
        >>> metric.update(torch.tensor([0, 0, 3, 5]), mask=torch.tensor([True, True, True, False]))
        >>> metric.compute()
        tensor(2.)
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        return (self.counts > 0).sum().float()


class CodeUsage(_CodeCounts):
    """Share of each code among all choices, shape (K,), which torchmetrics makes 0-dim for K = 1; zeros when nothing was seen.

    Example:
        >>> metric = CodeUsage(num_codes=2)
        >>> metric.update(torch.tensor([0, 0, 0, 1]))
        >>> metric.compute()
        tensor([0.7500, 0.2500])
    """

    def compute(self) -> Tensor:
        return (self.counts / self.counts.sum().clamp_min(1)).float()
