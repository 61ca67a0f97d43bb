"""Several trained oracles as one careful one (Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474).

    score(x) = mean_m f_m(x) - caution * std_m f_m(x)

A search finds what an oracle overestimates; where the members disagree, they do not know.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean of members minus their disagreement.

    Args:
        members: two or more modules of one-hot sequences (batch, letters, length) to scores (batch,) or (batch, 1).
        caution: standard deviations that are taken off; 0 for the mean.

    Raises:
        ValueError: if there are fewer than two members.

    Example:
        >>> from discrete_lightning.oracles import SequenceCNN
        >>> ensemble = Ensemble([SequenceCNN(channels=4, layers=1) for _ in range(3)], caution=1.0)
        >>> mean, deviation = ensemble.predict(torch.zeros(2, 4, 30))
        >>> bool(torch.allclose(ensemble(torch.zeros(2, 4, 30)), mean - deviation))
        True
    """

    def __init__(self, members: Sequence[nn.Module], caution: float = 1.0) -> None:
        super().__init__()
        if len(members) < 2:
            raise ValueError(f"Ensemble needs two or more members to know what it does not know, got {len(members)}")
        self.members, self.caution = nn.ModuleList(members), caution

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (batch,) over the members."""
        scores = torch.stack([member(x).flatten() for member in self.members])
        return scores.mean(0), (scores.var(0) + 1e-12).sqrt()  # the root's gradient at 0 is infinite

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,)."""
        mean, deviation = self.predict(x)
        return mean - self.caution * deviation
