"""Normalised mutual information of two labellings (Strehl & Ghosh 2002): whether experts follow the sources of the data.

NMI(a, b) = 2 I(a; b) / (H(a) + H(b)),   of the shares of the pairs (a, b)
"""

import torch
from torch import Tensor
from torchmetrics import Metric

from discrete_lightning.layers.usage import count_indices


class NormalizedMutualInformation(Metric):
    """How much two labellings of the same examples say of each other: 0 (nothing) to 1 (one is a renaming of the other).

    The pairs are counted, so that memory does not grow with the examples. 0 where both labellings are constant.

    Args:
        first: number of labels of the first labelling, for example of experts.
        second: of the second, for example of sources.

    Raises:
        ValueError: if a number is less than 1; in `update`, if the shapes differ.

    Example:
        >>> metric = NormalizedMutualInformation(first=3, second=2)
        >>> metric.update(torch.tensor([2, 2, 0, 0]), torch.tensor([0, 0, 1, 1]))
        >>> metric.compute()
        tensor(1.)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    pairs: Tensor

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        if first < 1 or second < 1:
            raise ValueError(f"NormalizedMutualInformation needs at least one label each, got {first} and {second}")
        self.first, self.second = first, second
        self.add_state("pairs", torch.zeros(first * second, dtype=torch.int64), dist_reduce_fx="sum")

    @torch.no_grad()
    def update(self, first: Tensor, second: Tensor) -> None:
        """Adds examples.

        Args:
            first: integers in [0, `first`), any shape.
            second: integers in [0, `second`), of the same shape.
        """
        if first.shape != second.shape:
            raise ValueError(f"two labels for each example, got {tuple(first.shape)} and {tuple(second.shape)}")
        # a new tensor: a state that inference mode made must not be changed in place
        self.pairs = self.pairs + count_indices(first * self.second + second, self.first * self.second)

    def compute(self) -> Tensor:
        p = (self.pairs / self.pairs.sum().clamp_min(1)).view(self.first, self.second)
        first, second, both = (torch.special.entr(each).sum() for each in (p.sum(1), p.sum(0), p))
        total = first + second
        return torch.where(total > 0, 2 * (total - both) / total.clamp_min(1e-20), 0.0).clamp(0, 1)
