"""How many items semantic IDs do not tell apart (Rajput et al. 2023, https://arxiv.org/abs/2305.05065)."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from discrete_lightning.functional._checks import as_indices
from discrete_lightning.vq.functional.semantic_ids import colliding


class CollisionRate(Metric):
    """Share of the items whose tuple of codes another item has, too, in [0, 1]; 0 of no item.

    Items are known by their numbers: one that is met twice, as samplers of several ranks do to even out their parts, counts
    once, with the codes that were met first.

    Example:
        >>> metric = CollisionRate()
        >>> metric.update(torch.tensor([[7, 1], [2, 3], [7, 1]]), items=torch.tensor([0, 1, 2]))
        >>> metric.update(torch.tensor([[2, 3], [4, 4]]), items=torch.tensor([1, 3]))
        >>> metric.compute()
        tensor(0.5000)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    codes: list[Tensor]
    items: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("codes", [], dist_reduce_fx="cat")
        self.add_state("items", [], dist_reduce_fx="cat")

    def update(self, codes: Tensor, items: Tensor) -> None:
        """Adds the codes (N, ...), integers, of the items with these numbers (N,).

        Raises:
            ValueError: if they are not integers, or not one tuple of codes for each item.
        """
        codes, items = as_indices(codes), as_indices(items)
        if codes.ndim < 2 or items.shape != codes.shape[:1]:
            raise ValueError(
                f"each item has a tuple of codes: codes (N, levels) and items (N,), got {tuple(codes.shape)} and "
                f"{tuple(items.shape)}"
            )
        self.codes.append(codes.flatten(1))
        self.items.append(items)

    def compute(self) -> Tensor:
        if isinstance(self.items, list) and not self.items:  # a tensor once ranks were gathered
            return torch.zeros((), device=self.device)
        codes, items = dim_zero_cat(self.codes), dim_zero_cat(self.items)
        if not len(items):
            return torch.zeros((), device=self.device)
        order = items.argsort(stable=True)
        sorted_items = items[order]
        first = torch.ones_like(sorted_items, dtype=torch.bool)
        first[1:] = sorted_items[1:] != sorted_items[:-1]
        return colliding(codes[order[first]]).float().mean()
