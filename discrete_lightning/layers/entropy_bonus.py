"""The two entropy bonuses, which are often confused and have different effects.

    choice:    mean over tokens of H(p_n): every single choice stays undecided (exploration, as in policy gradients)
    marginal:  H(mean over tokens of p_n): all categories get used, while single choices may be certain (codebook use)

The marginal is over all tokens of all ranks: averaging over smaller groups first gives another value. Tokens where `mask`
is False (padding) do not count, whatever their logits are.
"""

import math

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import global_mean
from discrete_lightning.functional._checks import check_categories, check_tau, host_number, values_can_be_read
from discrete_lightning.functional._mask import positions_mask, zero_padding
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import over_tau
from discrete_lightning.functional.entropy import entropy, entropy_of_probabilities
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.layers.temperature import LossWeight


def choice_entropy(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean entropy of the single choices, in nats, over all tokens of all ranks.

    Args:
        logits: shape (..., K).
        mask: bool, shape (...) or its first dimensions; False where a token does not count.

    Returns:
        0-dim float32 in [0, log K]; 0 where no token counts.

    Example:
        >>> round(choice_entropy(torch.tensor([[100.0, 0.0], [0.0, 100.0]])).item(), 4)
        0.0
    """
    check_categories(logits, -1)
    if mask is None:
        values = entropy(logits)
        return global_mean(values.sum(), values.numel())
    counted = positions_mask(mask, logits.shape[:-1])
    values = entropy(zero_padding(logits, counted))
    return global_mean(zero_padding(values, counted).sum(), counted.sum())


def marginal_distribution(logits: Tensor, separate: int = 0, mask: Tensor | None = None) -> Tensor:
    """The mean of softmax(logits) over all tokens of all ranks.

    Args:
        logits: shape (..., *codebooks, K); every dimension but these is averaged over.
        separate: the number of dimensions before the last that tell codebooks apart (groups, residual stages).
        mask: bool, of the dimensions that are averaged over or the first of them; False where a token does not count.

    Returns:
        float32 (*codebooks, K), each summing to 1; zeros where no token counts.

    Raises:
        ValueError: if logits are not floating or have no categories or no such dimensions, the mask does not fit, or (on the
            CPU) a row has no distribution.

    Example:
        >>> marginal_distribution(torch.tensor([[100.0, 0.0], [0.0, 100.0]]))
        tensor([0.5000, 0.5000])
    """
    check_categories(logits, -1)
    if not 0 <= separate < logits.ndim:
        raise ValueError(
            f"separate is a number of dimensions before the last, 0 to {logits.ndim - 1} of logits {tuple(logits.shape)}, got "
            f"{separate}"
        )
    tokens, kept = logits.shape[: logits.ndim - 1 - separate], logits.shape[logits.ndim - 1 - separate :]
    if mask is None:
        flat = logits.reshape(math.prod(tokens), *kept)
        return global_mean(softmax(flat).sum(0), len(flat))
    counted = positions_mask(mask, tokens)
    p = softmax(zero_padding(logits, counted))
    return global_mean(zero_padding(p, counted).reshape(math.prod(tokens), *kept).sum(0), counted.sum())


def marginal_entropy(logits: Tensor, separate: int = 0, mask: Tensor | None = None) -> Tensor:
    """Entropy of the mean distribution over all tokens of all ranks, in nats; the mean over codebooks if there are several.

    Args:
        logits: shape (..., *codebooks, K); every dimension but these is averaged over.
        separate: the number of dimensions before the last that tell codebooks apart (groups, residual stages).
        mask: bool, of the dimensions that are averaged over or the first of them; False where a token does not count.

    Returns:
        0-dim float32 in [0, log K]; 0 where no token counts.

    Example:
        >>> marginal_entropy(torch.tensor([[100.0, 0.0], [0.0, 100.0]]))
        tensor(0.6931)
    """
    return entropy_of_probabilities(marginal_distribution(logits, separate, mask)).mean()


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

    def forward(
        self, logits: Tensor, tau: float | Tensor = 1.0, mask: Tensor | None = None, held: Tensor | bool = False
    ) -> Tensor:  # fmt: skip
        """The loss term of logits (..., *codebooks, K), 0-dim float32; 0 where no token counts.

        Args:
            logits: shape (..., *codebooks, K).
            tau: take the entropies of softmax(logits / tau): a number, a 0-dim tensor, or one of each codebook
                (*codebooks, 1) or row (it broadcasts against logits[..., :1]). With a learned temperature this term raises it:
                d(-H)/dtau < 0.
            mask: bool, shape (...) or its first dimensions; False where a token does not count.
            held: where True the entropy of choices gives logits no gradient, only tau; a bool, or a tensor that broadcasts
                against logits. For logits that could earn it in another way than by being undecided.
        """
        check_categories(logits, -1)
        check_tau(tau, logits=logits)
        if mask is not None:  # before the division: tau's gradient must not see padding either
            logits = zero_padding(logits, positions_mask(mask, logits.shape[: logits.ndim - 1 - self.separate]))
        return entropy_bonus(logits, self.choice(), self.marginal(), tau, self.separate, mask, held)


def entropy_bonus(
    logits: Tensor,
    choice: Tensor,
    marginal: Tensor,
    tau: float | Tensor = 1.0,
    separate: int = 0,
    mask: Tensor | None = None,
    held: Tensor | bool = False,
) -> Tensor:
    """-(choice * choice_entropy + marginal * marginal_entropy) of softmax(logits / tau), as EntropyBonus; 0-dim float32."""
    logits = float32(logits)
    loss = torch.zeros((), dtype=torch.float32, device=logits.device)
    undecided = tempered = over_tau(logits, tau)
    if held is not False:
        fixed = logits.detach()
        undecided = over_tau(fixed if held is True else torch.where(held, fixed, logits), tau)
    if not is_zero(choice):
        loss = loss - choice * choice_entropy(undecided, mask)
    if not is_zero(marginal):
        loss = loss - marginal * marginal_entropy(tempered, separate, mask)
    return loss


def is_zero(weight: Tensor) -> bool:
    """Whether a term of this weight need not be computed. Never on an accelerator, where a read would wait for the device."""
    return values_can_be_read(weight) and not host_number(weight)
