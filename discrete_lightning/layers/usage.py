"""How a codebook is used: perplexity and live codes, over all tokens of all ranks."""

import torch
from torch import Tensor
from torchmetrics import Metric

from discrete_lightning.functional import perplexity


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

    def update(self, indices: Tensor) -> None:
        """Counts int64 `indices` of any shape, in [0, num_codes)."""
        counts = torch.bincount(indices.reshape(-1), minlength=self.num_codes)
        if len(counts) > self.num_codes:
            raise ValueError(f"code {len(counts) - 1} in a codebook of {self.num_codes}: is num_codes the codebook's?")
        self.counts += counts


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
        >>> metric.update(torch.tensor([0, 0, 3]))
        >>> metric.compute()
        tensor(2.)
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        return (self.counts > 0).sum().float()


class CodeUsage(_CodeCounts):
    """Share of each code among all choices, shape (K,); zeros when nothing was seen.

    Example:
        >>> metric = CodeUsage(num_codes=2)
        >>> metric.update(torch.tensor([0, 0, 0, 1]))
        >>> metric.compute()
        tensor([0.7500, 0.2500])
    """

    def compute(self) -> Tensor:
        return (self.counts / self.counts.sum().clamp_min(1)).float()
