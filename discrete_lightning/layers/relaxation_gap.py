"""The gap between the model that is trained (relaxed) and the one that is deployed (discrete)."""

import torch
from torch import Tensor
from torchmetrics import Metric


class RelaxationGap(Metric):
    """Mean of discrete loss - relaxed loss over examples: positive where the relaxation flatters the model.

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

    def update(self, relaxed: Tensor, discrete: Tensor) -> None:
        """Adds the losses of the same examples under both, each of shape (B,)."""
        if relaxed.shape != discrete.shape:
            raise ValueError(
                f"losses of the same examples are compared: {tuple(relaxed.shape)}, {tuple(discrete.shape)}"
            )
        # Kahan summation: not every device has float64, and a float32 sum forgets small terms after many updates
        term = (discrete.detach().float() - relaxed.detach().float()).sum() - self.lost
        total = self.total + term
        self.lost = (total - self.total) - term
        self.total = total
        self.examples += relaxed.numel()

    def compute(self) -> Tensor:
        return (self.total - self.lost) / self.examples
