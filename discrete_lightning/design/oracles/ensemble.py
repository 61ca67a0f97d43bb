"""Several trained oracles as one careful one (Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474).

    score(x) = mean_m f_m(x) - caution * std_m f_m(x)     where more is better; + caution * std where less is

A search finds what an oracle overestimates; where the members disagree, they do not know.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.design.oracles.composite import Composite, one_score_each


class Ensemble(Composite):
    """The mean of members, made worse by their disagreement.

    What is worse depends on the goal: less under Maximize, more under Minimize, farther away under Target, and the other way
    round in a WeightedSum of negative weight. Designs report the columns `mean` and `deviation`.

    Args:
        members: two or more modules of one-hot sequences (batch, letters, length) to scores (batch,) or (batch, 1).
        caution: standard deviations by which the mean is made worse, >= 0; 0 for the mean.

    Raises:
        ValueError: if there are fewer than two members, caution is negative, or (when called) a member's shape is another.

    Example:
        >>> from discrete_lightning.design.oracles import SequenceCNN
        >>> ensemble = Ensemble([SequenceCNN(channels=4, layers=1) for _ in range(3)], caution=1.0)
        >>> mean, deviation = ensemble.predict(torch.zeros(2, 4, 30))
        >>> bool(torch.allclose(ensemble(torch.zeros(2, 4, 30)), mean - deviation))
        True
    """

    def __init__(self, members: Sequence[nn.Module], caution: float = 1.0) -> None:
        super().__init__()
        if len(members) < 2:
            raise ValueError(f"Ensemble needs two or more members to know what it does not know, got {len(members)}")
        if not caution >= 0:
            raise ValueError(f"Ensemble: caution must not be negative (it would reward doubt), got {caution}")
        self.members, self.caution = nn.ModuleList(members), caution
        self.names, self.signs = ["mean", "deviation"], [1.0, 0.0]

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (batch,) over the members."""
        scores = torch.stack([one_score_each(member(x), member, len(x)) for member in self.members])
        return scores.mean(0), (scores.var(0) + 1e-12).sqrt()  # the root's gradient at 0 is infinite

    def components(self, x: Tensor) -> Tensor:
        """Mean and standard deviation side by side, (batch, 2)."""
        return torch.stack(self.predict(x), 1)

    def value_and_doubt(self, components: Tensor) -> tuple[Tensor, Tensor]:
        return components[:, 0], self.caution * components[:, 1]
