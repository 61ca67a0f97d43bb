"""The gap between the model that is trained (relaxed) and the one that is deployed (discrete)."""

import torch
from torch import Tensor
from torchmetrics import Metric

from discrete_lightning.functional._mask import positions_mask, zero_padding


class RelaxationGap(Metric):
    """Mean of discrete loss - relaxed loss over examples: positive where the relaxed model looks better than the deployed one;
    0 where none counts.

    Example:
        >>> metric = RelaxationGap()
        >>> metric.update(relaxed=torch.tensor([1.0, 1.0]), discrete=torch.tensor([1.5, 2.0]))
        >>> metric.compute()
        tensor(0.7500)
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = False
    total: Tensor
    lost: Tensor
    examples: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("lost", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("examples", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, relaxed: Tensor, discrete: Tensor, mask: Tensor | None = None) -> None:
        """Adds the losses of the same examples (or positions) under both.

        Args:
            relaxed: losses, any shape.
            discrete: losses, of the same shape.
            mask: bool, of the shape of the losses or of its first dimensions; False where one does not count.

        Raises:
            ValueError: if the shapes differ, or the mask is not bool or of another shape.
        """
        if relaxed.shape != discrete.shape:
            raise ValueError(
                f"losses of the same examples are compared: {tuple(relaxed.shape)}, {tuple(discrete.shape)}"
            )
        # Kahan summation: not every device has float64, and a float32 sum forgets small terms after many updates
        gaps = discrete.detach().float() - relaxed.detach().float()
        counted: int | Tensor = gaps.numel()
        if mask is not None:
            mask = positions_mask(mask, gaps.shape)
            gaps, counted = zero_padding(gaps, mask), mask.sum()
        term = gaps.sum() - self.lost
        total = self.total + term
        self.lost = (total - self.total) - term
        self.total = total
        # a new tensor: a state that inference mode made (validate before fit) must not be changed in place
        self.examples = self.examples + counted

    def compute(self) -> Tensor:
        return (self.total - self.lost) / self.examples.clamp_min(1)
