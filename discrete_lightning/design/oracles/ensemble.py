"""A deep ensemble of trained oracles (Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474).

    score(x) = mean_m f_m(x) - pessimism * std_m f_m(x)    under Maximize, + pessimism * std under Minimize

A search finds the sequences that an oracle overestimates. The members disagree on such sequences, so their standard deviation
is an estimate of the uncertainty.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.design.oracles.composite import Composite, one_score_each
from discrete_lightning.design.oracles.function import Oracle, as_module


class Ensemble(Composite):
    """The mean of the members' scores, made worse by their standard deviation.

    "Worse" depends on the goal: lower under Maximize, higher under Minimize, farther from the target under Target. In a
    WeightedSum with a negative weight it is the opposite. Designs report the columns `mean` and `deviation`.

    Args:
        members: two or more modules or functions of one-hot sequences (batch, letters, length) to scores (batch,) or
            (batch, 1).
        pessimism: the number of standard deviations by which the mean is made worse, >= 0; 0 gives the mean.

    Raises:
        ValueError: there are fewer than two members, pessimism is negative or not finite, or (when called) a member returns a
            wrong shape.

    Example:
        >>> from discrete_lightning.design.oracles import SequenceCNN
        >>> ensemble = Ensemble([SequenceCNN(channels=4, layers=1) for _ in range(3)], pessimism=1.0)
        >>> mean, deviation = ensemble.predict(torch.zeros(2, 4, 30))
        >>> bool(torch.allclose(ensemble(torch.zeros(2, 4, 30)), mean - deviation))
        True
    """

    def __init__(self, members: Sequence[Oracle], pessimism: float = 1.0) -> None:
        super().__init__()
        if len(members) < 2:
            raise ValueError(f"Ensemble needs two or more members to estimate the uncertainty, got {len(members)}")
        if not 0 <= pessimism < math.inf:
            raise ValueError(
                f"Ensemble: pessimism must be finite and not negative (uncertain sequences would score higher), got {pessimism}"
            )
        self.members, self.pessimism = nn.ModuleList(map(as_module, members)), pessimism
        self.names, self.signs = ["mean", "deviation"], [1.0, 0.0]

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (batch,) over the members."""
        scores = torch.stack([one_score_each(member(x), member, len(x)) for member in self.members])
        return scores.mean(0), (scores.var(0) + 1e-12).sqrt()  # the gradient of the root is infinite at 0

    def components(self, x: Tensor) -> Tensor:
        """Mean and standard deviation side by side, (batch, 2)."""
        return torch.stack(self.predict(x), 1)

    def value_and_uncertainty(self, components: Tensor) -> tuple[Tensor, Tensor]:
        return components[:, 0], self.pessimism * components[:, 1]
