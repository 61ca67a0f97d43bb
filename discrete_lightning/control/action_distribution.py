"""Distributions over discrete actions of one component or several, with illegal actions left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.entropy import entropy, kl_divergence
from discrete_lightning.functional.gumbel import gumbel_noise


@dataclass(frozen=True)
class ActionDistribution:
    """Independent categorical distributions of an action's components, pi(a | s) = prod_m softmax(logits_m)[a_m].

    Attributes:
        logits: float32 (..., M, A): M components, A the largest number of actions; -inf where there is no such action, or it
            is illegal.

    Example:
        >>> both = ActionDistribution(torch.zeros(1, 2, 3))  # two components of three actions each
        >>> both.log_probability(torch.tensor([[0, 2]])).exp(), both.entropy()
        (tensor([0.1111]), tensor([2.1972]))
    """

    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """Of each action of each component, (..., M, A)."""
        return self.logits.softmax(-1)

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """Actions, int64 (..., M): exact draws by the Gumbel-max trick. `ActionChoice` draws, too, and is counted."""
        noise = gumbel_noise(self.logits.shape, dtype=self.logits.dtype, device=self.logits.device, generator=generator)
        return (self.logits.detach() + noise).argmax(-1)

    def mode(self) -> Tensor:
        """The most likely actions, int64 (..., M)."""
        return self.logits.detach().argmax(-1)

    def log_probability(self, actions: Tensor) -> Tensor:
        """The nats log pi(a | s) (...) of actions int64 (..., M); -inf of an illegal one."""
        log_p = self.logits.log_softmax(-1)
        return log_p.gather(-1, actions.unsqueeze(-1)).squeeze(-1).sum(-1)

    def entropy(self) -> Tensor:
        """H(pi(. | s)) (...), nats: the sum over components."""
        return entropy(self.logits).sum(-1)

    def kl(self, other: "ActionDistribution") -> Tensor:
        """KL(self || other) (...), nats, exact: the sum over components."""
        return kl_divergence(self.logits, other.logits).sum(-1)


def split_components(logits: Tensor, actions: Sequence[int], legal: Tensor | None = None) -> Tensor:
    """Logits (..., sum of actions) as float32 (..., M, A), -inf where there is no such action or it is illegal.

    Args:
        logits: of all components, one after another.
        actions: number of actions of each component.
        legal: bool, of the shape of `logits`.

    Raises:
        ValueError: if the shapes do not fit, or `legal` is not bool.

    Example:
        >>> split_components(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), [2, 3])
        tensor([[1., 2., -inf],
                [3., 4., 5.]])
    """
    if logits.shape[-1] != sum(actions):
        raise ValueError(
            f"components of {list(actions)} actions need {sum(actions)} logits, got shape {tuple(logits.shape)}"
        )
    values = float32(logits)
    if legal is not None:
        if legal.dtype != torch.bool or legal.shape != logits.shape:
            raise ValueError(
                f"legal is bool {tuple(logits.shape)}, True where an action is legal, got {legal.dtype} {tuple(legal.shape)}"
            )
        values = values.masked_fill(~legal, -torch.inf)
    if len(set(actions)) == 1:
        return values.unflatten(-1, (len(actions), actions[0]))
    widest = max(actions)
    parts = [
        torch.nn.functional.pad(part, (0, widest - part.shape[-1]), value=-torch.inf)
        for part in values.split(list(actions), -1)
    ]
    return torch.stack(parts, -2)
