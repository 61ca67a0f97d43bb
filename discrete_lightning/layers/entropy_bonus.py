"""Entropy bonuses in their two senses, which are often confused and pull in different directions.

    choice:    mean over tokens of H(p_n): every single choice stays undecided (exploration, as in policy gradients)
    marginal:  H(mean over tokens of p_n): all categories get used, while single choices may be certain (codebook use)

The marginal is over all tokens of all ranks: averaged over a smaller group first, it is another quantity.
"""

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import global_mean
from discrete_lightning.functional import entropy
from discrete_lightning.functional._precision import float32
from discrete_lightning.layers.temperature import LossWeight


def choice_entropy(logits: Tensor) -> Tensor:
    """Mean entropy of the single choices, in nats, over all tokens of all ranks.

    Args:
        logits: shape (..., K).

    Returns:
        0-dim float32 in [0, log K].

    Example:
        >>> round(choice_entropy(torch.tensor([[100.0, 0.0], [0.0, 100.0]])).item(), 4)
        0.0
    """
    values = entropy(logits)
    return global_mean(values.sum(), values.numel())


def marginal_distribution(logits: Tensor, separate: int = 0) -> Tensor:
    """The mean of softmax(logits) over all tokens of all ranks.

    Args:
        logits: shape (..., *codebooks, K); every dimension but these is averaged over.
        separate: the number of dimensions before the last that tell codebooks apart (groups, residual stages).

    Returns:
        float32 (*codebooks, K), each summing to 1.

    Example:
        >>> marginal_distribution(torch.tensor([[100.0, 0.0], [0.0, 100.0]]))
        tensor([0.5000, 0.5000])
    """
    kept = logits.shape[logits.ndim - 1 - separate :]
    flat = float32(logits).reshape(-1, *kept)
    return global_mean(torch.softmax(flat, -1).sum(0), len(flat))


def marginal_entropy(logits: Tensor, separate: int = 0) -> Tensor:
    """Entropy of the mean distribution over all tokens of all ranks, in nats; the mean over codebooks if there are several.

    Args:
        logits: shape (..., *codebooks, K); every dimension but these is averaged over.
        separate: the number of dimensions before the last that tell codebooks apart (groups, residual stages).

    Returns:
        0-dim float32 in [0, log K].

    Example:
        >>> marginal_entropy(torch.tensor([[100.0, 0.0], [0.0, 100.0]]))
        tensor(0.6931)
    """
    marginal = marginal_distribution(logits, separate)
    return -torch.special.xlogy(marginal, marginal.clamp_min(torch.finfo(marginal.dtype).tiny)).sum(-1).mean()


class EntropyBonus(nn.Module):
    """Loss term -(choice * choice_entropy + marginal * marginal_entropy): add it to the loss.

    The weights are `LossWeight`s, so `WeightAnnealing(schedule, only="*choice")` moves them.

    Args:
        choice: weight of the entropy of each choice, >= 0.
        marginal: weight of the entropy of the marginal, >= 0.
        separate: the number of dimensions before the last that tell codebooks apart.

    Example:
        >>> bonus = EntropyBonus(choice=1.0)
        >>> bonus(torch.zeros(4, 2))
        tensor(-0.6931)
    """

    def __init__(self, choice: float = 0.0, marginal: float = 0.0, separate: int = 0) -> None:
        super().__init__()
        self.separate = separate
        self.choice, self.marginal = LossWeight(choice), LossWeight(marginal)

    def forward(self, logits: Tensor, tau: float | Tensor = 1.0) -> Tensor:
        """The loss term of logits (..., K), 0-dim float32.

        Args:
            logits: shape (..., K).
            tau: take the entropies of softmax(logits / tau). With a learned temperature this is what raises it:
                d(-H)/dtau < 0.
        """
        if isinstance(tau, Tensor) or tau != 1.0:
            logits = float32(logits) / tau
        return -(self.choice() * choice_entropy(logits) + self.marginal() * marginal_entropy(logits, self.separate))
