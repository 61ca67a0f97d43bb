"""The diversity loss of wav2vec 2.0 (Baevski et al. 2020, eq. 4; https://arxiv.org/abs/2006.11477).

    L = (G V - sum_g exp(H(mean over tokens of p_g))) / (G V)

The mean is over all tokens of all ranks. Averaging over smaller groups first gives another value.
"""

import torch
from torch import Tensor, nn

from discrete_lightning.functional.entropy import entropy_of_probabilities
from discrete_lightning.layers.entropy_bonus import marginal_distribution
from discrete_lightning.layers.temperature import LossWeight


def code_diversity(logits: Tensor, separate: int = 0, mask: Tensor | None = None) -> Tensor:
    """One minus the perplexity of the mean distribution, as a share of the codes: 0 if all are used equally often.

    Args:
        logits: shape (..., *codebooks, K); every dimension but these is averaged over.
        separate: the number of dimensions before the last that tell codebooks apart (groups, residual stages).
        mask: bool, of the dimensions that are averaged over or the first of them; False where a token does not count.

    Returns:
        0-dim float32 in [0, 1 - 1 / K], the mean over codebooks; 0 where no token counts.

    Example:
        >>> code_diversity(torch.tensor([[100.0, 0.0], [0.0, 100.0]]))
        tensor(0.)
    """
    marginal = marginal_distribution(logits, separate, mask)
    perplexity = entropy_of_probabilities(marginal).exp()
    return torch.where(marginal.any(-1), 1 - perplexity / logits.shape[-1], 0.0).mean()


class CodeDiversity(nn.Module):
    """Loss term weight * code_diversity(logits); the weight is a `LossWeight` that WeightAnnealing can move.

    Args:
        weight: >= 0; 0.1 in the paper.
        separate: the number of dimensions before the last that tell codebooks apart.

    Example:
        >>> CodeDiversity(0.1)(torch.tensor([[100.0, 0.0], [100.0, 0.0]]))
        tensor(0.0500)
    """

    def __init__(self, weight: float = 0.1, separate: int = 0) -> None:
        super().__init__()
        self.weight, self.separate = LossWeight(weight), separate

    def forward(self, logits: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss term, 0-dim float32; logits and mask as in `code_diversity`."""
        return self.weight() * code_diversity(logits, self.separate, mask)
