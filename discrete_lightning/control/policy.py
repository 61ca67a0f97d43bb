"""A policy over discrete actions: a network, a temperature, and a choice that is drawn or relaxed."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.control.action_distribution import ActionDistribution, split_components
from discrete_lightning.control.logit_norm import LogitNorm
from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._temperature import over_tau
from discrete_lightning.layers.choices import Choices, choices_made
from discrete_lightning.layers.relaxed import RelaxedCategorical, Sampling
from discrete_lightning.layers.temperature import Temperature


class ActionChoice(Sampling):
    """Chooses actions: an exact draw in training mode, the most likely one in eval(). `ChoiceMonitor` counts them."""

    def forward(self, logits: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions, int64 (..., M).

        Args:
            logits: (..., M, A), -inf where an action is illegal.
            noise: standard Gumbel noise of the shape of `logits`; None: the most likely action.
        """
        scores = logits.detach()
        if self.training and noise is not None:
            scores = scores + noise.to(scores)
        return scores.argmax(-1)


@choices_made.register
def _(layer: ActionChoice, inputs: Mapping[str, Any], output: Tensor) -> Choices:  # noqa: ARG001
    logits = inputs["logits"].detach()
    one = logits.shape[-2] == 1  # of several components actions of one number are counted together
    return Choices(output.reshape(-1, 1), logits.shape[-1], logits.flatten(0, -2) if one else None)


class RelaxedActions(RelaxedCategorical):
    """Samples of the states of this process, from the noise of all processes: see `CategoricalPolicy.relaxed`."""

    def forward(
        self, logits: Tensor, generator: torch.Generator | None = None, first: int = 0, total: int = 0
    ) -> Tensor:  # fmt: skip
        count = len(logits)
        if total in (0, count) or not self.training:
            return super().forward(logits, generator)
        zeros = logits.new_zeros(total, *logits.shape[1:])
        padded = torch.cat([zeros[:first], logits, zeros[first + count :]])
        return super().forward(padded, generator)[first : first + count]


class CategoricalPolicy(nn.Module):
    """pi(a | s) = softmax(f(s) / tau), of one discrete action or of several at once, illegal ones left out.

    `forward` gives the distribution, for score functions; `relaxed` gives one-hot samples with an estimator's gradient, for the
    path through a differentiable environment.

    tau and the scale of the logits are not identified: (f, tau) and (c f, c tau) are one policy, and where both are learned tau
    ends wherever learning rates take it. So a learned temperature needs `normed`: logits are centred for each state and divided
    by their root mean square over all states (`LogitNorm`), and tau is the scale of the policy.

    Args:
        network: observations (..., *shape) to logits (..., sum of actions).
        actions: number of actions; of several components (gymnasium's MultiDiscrete) the number of each.
        temperature: tau, a `Temperature` or a number for a new one; None: logits are taken as they are.
        normed: whether the logits are normed.
        estimator: of `relaxed`; none by default.
        relaxation: temperature of the estimator's relaxation, a `Temperature` or a number for a new one.

    Raises:
        ValueError: if an action is missing, or a learned temperature is asked for logits of any scale.

    Example:
        >>> policy = CategoricalPolicy(nn.Linear(4, 2), actions=2)
        >>> policy(torch.zeros(3, 4)).log_probability(torch.tensor([[0], [1], [1]])).shape
        torch.Size([3])
    """

    def __init__(
        self,
        network: nn.Module,
        actions: int | Sequence[int],
        temperature: Temperature | float | None = None,
        normed: bool = False,
        estimator: Estimator | None = None,
        relaxation: Temperature | float = 1.0,
    ) -> None:
        super().__init__()
        self.actions = (actions,) if isinstance(actions, int) else tuple(actions)
        if not self.actions or min(self.actions) < 1:
            raise ValueError(f"a policy chooses among one action or more in each component, got actions={actions}")
        self.network = network
        if temperature is None or isinstance(temperature, Temperature):
            self.temperature = temperature
        else:
            self.temperature = Temperature(temperature)
        if self.temperature is not None and self.temperature.learnable and not normed:
            raise ValueError(
                "a learned temperature and logits of any scale are not identified: (logits, tau) and (c logits, c tau) are one "
                "policy; set normed=True, which fixes the scale of the logits, or learnable=False"
            )
        self.norm = LogitNorm() if normed else None
        self.choice = ActionChoice()
        self.relaxation = None
        if estimator is not None:
            self.relaxation = RelaxedActions(estimator, relaxation, samples_only=True)

    def forward(
        self, observations: Tensor, legal: Tensor | None = None, counted: Tensor | None = None
    ) -> ActionDistribution:
        """The distribution over actions.

        Args:
            observations: (..., *shape).
            legal: bool (..., sum of actions), False where an action is illegal.
            counted: bool (...), False at states that do not count for the gradient of a norm of the logits.

        Raises:
            ValueError: if `legal` does not fit, or (on the CPU, when entropies are taken) leaves no action in a state.
        """
        logits = self.raw_logits(observations, legal)
        if self.norm is not None:
            logits = self.norm(logits, counted)
        if self.temperature is not None:
            logits = over_tau(logits, self.temperature())
        return ActionDistribution(logits)

    def raw_logits(self, observations: Tensor, legal: Tensor | None = None) -> Tensor:
        """Logits (..., M, A) as the network gives them, neither normed nor divided by the temperature."""
        return split_components(self.network(observations), self.actions, legal)

    def relaxed(
        self, distribution: ActionDistribution, generator: torch.Generator | None = None, first: int = 0, total: int = 0
    ) -> Tensor:  # fmt: skip
        """One-hot samples (n, M, A) with the estimator's gradient; in eval() the most likely actions.

        Args:
            distribution: of n states.
            generator: of the noise.
            first: number of the first state among those of all processes.
            total: number of states of all processes: the noise of all is drawn, and that of one's own taken, so that any number
                of processes gives the same samples. 0: n.

        Raises:
            ValueError: if the policy has no estimator.
        """
        if self.relaxation is None:
            raise ValueError(
                "this policy has no estimator: give CategoricalPolicy one, such as StraightThroughGumbel()"
            )
        sample: Tensor = self.relaxation(distribution.logits, generator, first, total)
        return sample
