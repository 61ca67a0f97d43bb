"""The share of lines, or couplets, that keep a form."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class ShareInForm(Metric):
    """How many of those judged keep the form, over all updates and ranks, in [0, 1]; 0 where none was judged.

    The state `judged` is the number that this rank has judged.

    Example:
        >>> metric = ShareInForm()
        >>> metric.update([True, False, None, True])  # None: not judged
        >>> metric.update(torch.tensor([True]))
        >>> metric.compute(), metric.judged
        (tensor(0.7500), tensor(4))
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = True
    kept: Tensor
    judged: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("kept", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("judged", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, in_form: Tensor | Sequence[bool | None]) -> None:
        """Adds verdicts.

        Args:
            in_form: whether each keeps the form: bool of any shape, or a sequence in which None stands for one that could not
                be judged and does not count.

        Raises:
            ValueError: if a verdict is neither True nor False nor None.
        """
        if not isinstance(in_form, Tensor):
            verdicts = [verdict for verdict in in_form if verdict is not None]
            wrong = [verdict for verdict in verdicts if verdict not in (True, False)]
            if wrong:
                raise ValueError(f"a verdict is True, False or None (not judged), got {wrong[0]!r}")
            in_form = torch.tensor(verdicts, dtype=torch.bool)
        if in_form.dtype != torch.bool:
            raise ValueError(f"verdicts are bool, got {in_form.dtype}: compare a score with the bar that it must reach")
        # new tensors: a state that inference mode made must not be changed in place
        self.kept = self.kept + in_form.sum().to(self.kept.device)
        self.judged = self.judged + in_form.numel()

    def compute(self) -> Tensor:
        return (self.kept / self.judged.clamp_min(1)).float()
