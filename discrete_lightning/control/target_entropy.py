"""A learned weight of the entropy bonus that holds the policy's entropy at a target.

Soft actor-critic (Haarnoja et al. 2018, https://arxiv.org/abs/1812.05905, equation 18) learns the weight alpha by the loss

    alpha E[H(pi(s)) - target]

whose gradient raises alpha while the entropy is below the target. For discrete actions (Christodoulou 2019,
https://arxiv.org/abs/1910.07207) the expectation over actions is exact.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import global_mean
from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.functional._checks import check_floating
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.layers.temperature import LossWeight

_HALVINGS = 60


def epsilon_greedy_entropy(epsilon: float | Tensor, actions: int | Tensor) -> Tensor:
    """Entropy, in nats, of a policy that takes one action, and with probability epsilon any of K alike.

    Args:
        epsilon: in [0, 1].
        actions: K, at least 1.

    Returns:
        Float32 of their common shape, in [0, log K].

    Example:
        >>> epsilon_greedy_entropy(0.1, torch.tensor([1, 2, 4, 6]))
        tensor([0.0000, 0.1985, 0.3488, 0.4210])
    """
    number = torch.as_tensor(actions).to(torch.float32)
    spread = torch.as_tensor(epsilon, dtype=torch.float32, device=number.device) / number
    return torch.special.entr(1 - (number - 1) * spread) + (number - 1) * torch.special.entr(spread)


def epsilon_of_entropy(entropy: float, actions: int) -> float:
    """The epsilon of `epsilon_greedy_entropy` that gives an entropy.

    Args:
        entropy: in nats, in [0, log K].
        actions: K, at least 2.

    Raises:
        ValueError: no policy over K actions has this entropy.

    Example:
        Of the target .98 log K of soft actor-critic, the probability that is left to the actions that are not the best:

        >>> [round(epsilon_of_entropy(0.98 * math.log(k), k) * (k - 1) / k, 2) for k in (2, 4, 6)]
        [0.42, 0.64, 0.73]
    """
    check_at_least(2, actions=actions)
    if not 0 <= entropy <= math.log(actions):
        raise ValueError(f"an entropy over {actions} actions is in [0, {math.log(actions):.4g}] nats, got {entropy}")
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        rest, best = middle / actions, 1 - middle * (actions - 1) / actions
        reached = -best * math.log(best) - (actions - 1) * (rest * math.log(rest) if rest else 0.0)
        low, high = (middle, high) if reached < entropy else (low, middle)
    return (low + high) / 2


class Epsilon(LossWeight):
    """A probability in [0, 1] that `WeightAnnealing` can move.

    Example:
        >>> Epsilon(0.1)()
        tensor(0.1000)
    """

    def _check(self, value: float) -> None:
        super()._check(value)
        if value > 1:
            raise ValueError(f"epsilon is a probability, at most 1, got {value}")


class TargetEntropy(Recorded, Float32State):
    """The weight of an entropy bonus, learned so that the mean entropy is that of an epsilon-greedy policy over K actions.

    Not .98 log K, the target of discrete soft actor-critic: with it the actions that are not the best have .42 of the
    probability for K = 2, .64 for 4, .73 for 6 (`epsilon_of_entropy` computes them). With epsilon = .1 they have .05, .075 and
    .083. A target in nats is given by its epsilon: `TargetEntropy(4, epsilon_of_entropy(0.5, 4))`.

    `WeightAnnealing(schedule, only="*epsilon")` moves the target. The weight is a float32 parameter in every precision, for an
    optimiser of its own or the model's.

    Args:
        actions: K; of a choice of several components, K of each: entropies are then sums over components.
        epsilon: in [0, 1].
        init: first weight, > 0.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> target = TargetEntropy(actions=4, epsilon=0.1, init=0.5)
        >>> target(torch.tensor([0.1, 0.3])).backward()  # below the target of .35: descent raises the weight
        >>> bool(target.log_weight.grad < 0), round(target.weight().item(), 2)
        (True, 0.5)
    """

    def __init__(self, actions: int | Sequence[int], epsilon: float = 0.1, init: float = 1.0) -> None:
        super().__init__()
        self.components = (actions,) if isinstance(actions, int) else tuple(actions)
        if not self.components:
            raise ValueError("actions is a number of actions, or several, got none")
        check_at_least(2, actions=max(self.components))
        check_at_least(1, actions=min(self.components))
        check_positive(init=init)
        self.epsilon = Epsilon(epsilon)
        self.log_weight = nn.Parameter(torch.tensor([math.log(init)], dtype=torch.float32))  # FSDP refuses 0-dim ones

    def weight(self) -> Tensor:
        """The weight, 0-dim float32 > 0, with a gradient; `detach` it in the actor's loss."""
        return self.log_weight.float().exp()[0]

    def target(self, legal: Tensor | None = None) -> Tensor:
        """The target, in nats: float32, 0-dim, or of each state where numbers of legal actions are given.

        Args:
            legal: numbers of legal actions, each at least 1: (...), or (..., components) of a choice of several components.
        """
        device = self.log_weight.device
        if legal is None:
            return epsilon_greedy_entropy(self.epsilon().to(device), torch.tensor(self.components, device=device)).sum()
        entropies = epsilon_greedy_entropy(self.epsilon().to(legal.device), legal)
        return entropies if len(self.components) == 1 else entropies.sum(-1)

    def forward(self, entropy: Tensor, legal: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The loss of the weight: weight * mean(entropy - target), over all states of all ranks.

        Args:
            entropy: of the policy in each state, in nats, (...); no gradient goes to it.
            legal: see `target`. A state with one legal action has entropy and target 0: it does not move the weight.
            mask: bool (...), False where a state does not count.

        Returns:
            0-dim float32; 0 where no state counts.

        Raises:
            ValueError: shapes do not fit, or entropies are not floating.
        """
        check_floating(entropy, "entropy")
        entropy = entropy.detach().float()
        shape = entropy.shape if len(self.components) == 1 else (*entropy.shape, len(self.components))
        if legal is not None and legal.shape != shape:
            raise ValueError(f"legal holds a number of actions of each state, {tuple(shape)}, got {tuple(legal.shape)}")
        if mask is not None and mask.shape != entropy.shape:
            raise ValueError(f"mask is of the shape of entropy, {tuple(entropy.shape)}, got {tuple(mask.shape)}")
        beyond = entropy - self.target(legal)
        if mask is None:
            return global_mean(self.weight() * beyond.sum(), beyond.numel())
        return global_mean(self.weight() * beyond.where(mask, 0).sum(), mask.sum())
