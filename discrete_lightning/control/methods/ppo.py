"""Proximal policy optimisation (Schulman et al. 2017, https://arxiv.org/abs/1707.06347), with the details of Huang et al. 2022
(https://iclr-blog-track.github.io/2022/03/25/ppo-implementation-details/).

Several epochs of minibatches on each rollout. The clipped value loss is off by default (Andrychowicz et al. 2020,
https://arxiv.org/abs/2006.05990, section 3.2). Computing advantages anew in each epoch, which they advise (section 3.5), is an
option.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discrete_lightning.control.action_distribution import ActionDistribution
from discrete_lightning.control.methods.base import (
    Agent,
    ControlMethod,
    NetworkShape,
    assess,
    check_lambda,
    entropic,
    minibatches,
    step_weights,
    value_of,
)
from discrete_lightning.control.ppo import clipped_value_loss, ppo_clip
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.statistics import counted_mean, explained_variance, standardized
from discrete_lightning.layers.entropy_bonus import is_zero
from discrete_lightning.layers.temperature import LossWeight


@dataclass(frozen=True)
class PPO(ControlMethod):
    """Several epochs of clipped steps on each rollout.

    Args:
        epochs: over the rollout, 1 or more.
        batch_size: rows of a minibatch, of all processes together.
        clip: epsilon of the ratio, > 0; the module's `parts.clip`, so that `WeightAnnealing(only="*clip")` can move it.
        lambda_: of the advantages, in [0, 1].
        value_weight: of the critic's squared error.
        value_clip: by how much a value may move in one rollout for its error to count fully; None: any.
        normalize: whether advantages are standardised in each minibatch.
        recompute: whether each epoch computes the advantages with the critic as it is then: one pass of the critic more an
            epoch. Worth it where rewards change, as with a `CountBonus`.
        target_kl: KL(pi_old || pi) in nats, the mean over all ranks, above which the epochs of a rollout end; None: never.

    Raises:
        ValueError: if an argument is out of its range.
    """

    epochs: int = 10
    batch_size: int = 256
    clip: float = 0.2
    lambda_: float = 0.95
    value_weight: float = 0.5
    value_clip: float | None = None
    normalize: bool = True
    recompute: bool = False
    target_kl: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"PPO: epochs and batch_size are 1 or more, got {self.epochs} and {self.batch_size}")
        limits = {"clip": self.clip, "value_clip": self.value_clip, "target_kl": self.target_kl}
        if any(each is not None and not each > 0 for each in limits.values()):
            raise ValueError(f"PPO: {', '.join(limits)} are more than 0 where they are given, got {limits}")
        check_lambda(self.lambda_, "PPO")

    def parts(self, shape: NetworkShape) -> dict[str, nn.Module]:
        return {"critic": shape.critic(), "clip": LossWeight(self.clip)}

    def update(self, agent: Agent) -> dict[str, Tensor]:
        rollout = agent.collect()
        with torch.no_grad():
            old = agent.policy(rollout.observations, rollout.legal)
            rewards = entropic(agent, rollout, old.entropy())
        rows = _Rows.of(agent, rollout, old)
        figures = self._renew(agent, rollout, rewards, rows)
        for epoch in range(self.epochs):
            if epoch and self.recompute:
                self._renew(agent, rollout, rewards, rows)
            for chosen in minibatches(agent.collector, rollout.steps, self.batch_size):
                part = rows if chosen is None else rows.take(chosen)
                policy = agent.policy(part.observations, part.legal, part.counted)
                if self.target_kl is not None and float(part.kl(policy)) > self.target_kl:
                    return figures | part.figures(policy, agent.parts["clip"]())
                loss, figures["policy_loss"], figures["value_loss"] = self._loss(agent, part, policy)
                agent.descend(loss)
        with torch.no_grad():
            policy = agent.policy(rows.observations, rows.legal)
        return figures | rows.figures(policy, agent.parts["clip"]())

    def _renew(self, agent: Agent, rollout: Rollout, rewards: Tensor, rows: "_Rows") -> dict[str, Tensor]:
        """Advantages and targets by the critic as it is."""
        with torch.no_grad():
            values, found = assess(agent, rollout, rewards, self.lambda_)
        rows.advantages, rows.targets = (each.flatten() for each in found)
        if rows.old_values is None:  # of the critic that the rollout met
            rows.old_values = values.flatten()
        return {"explained_variance": explained_variance(values.flatten(), rows.targets, rows.counted)}

    def _loss(self, agent: Agent, rows: "_Rows", policy: ActionDistribution) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and what the policy and the critic have in it, detached."""
        advantages = standardized(rows.advantages, rows.counted) if self.normalize else rows.advantages
        log_p, clip = policy.log_probability(rows.actions), agent.parts["clip"]()
        score = ppo_clip(log_p, rows.old_log_p, advantages * rows.weights, clip, mask=rows.counted)
        values = value_of(agent, rows.observations)
        if self.value_clip is None or rows.old_values is None:
            error = counted_mean((values - rows.targets).square() / 2, rows.counted)
        else:
            error = clipped_value_loss(values, rows.old_values, rows.targets, self.value_clip, mask=rows.counted)
        loss = score + self.value_weight * error
        if not is_zero(agent.beta):
            loss = loss - agent.beta * counted_mean(rows.weights * policy.entropy(), rows.counted)
        return loss, score.detach(), error.detach()


@dataclass
class _Rows:
    """A rollout as rows (T * n, ...), or some of them."""

    observations: Tensor
    legal: Tensor | None
    actions: Tensor
    counted: Tensor
    weights: Tensor
    old_logits: Tensor
    old_log_p: Tensor
    old_values: Tensor | None
    advantages: Tensor
    targets: Tensor

    @classmethod
    def of(cls, agent: Agent, rollout: Rollout, old: ActionDistribution) -> "_Rows":
        none = torch.zeros_like(rollout.rewards.flatten())
        return cls(
            rollout.observations.flatten(0, 1),
            None if rollout.legal is None else rollout.legal.flatten(0, 1),
            rollout.actions.flatten(0, 1),
            rollout.counted.flatten(),
            (none + 1).view_as(rollout.rewards).mul(step_weights(agent, rollout)).flatten(),
            old.logits.flatten(0, 1),
            old.log_probability(rollout.actions).flatten(),
            None,
            none,
            none,
        )

    def take(self, rows: Tensor) -> "_Rows":
        """Those rows."""
        found = {name: each if each is None else each[rows] for name, each in vars(self).items()}
        return _Rows(**found)  # type: ignore[arg-type]

    @torch.no_grad()
    def kl(self, policy: ActionDistribution) -> Tensor:
        """KL(pi_old || pi), nats, the mean over the rows of all ranks."""
        return counted_mean(ActionDistribution(self.old_logits).kl(policy), self.counted)

    @torch.no_grad()
    def figures(self, policy: ActionDistribution, clip: Tensor) -> dict[str, Tensor]:
        """What the update has come to."""
        outside = ((policy.log_probability(self.actions) - self.old_log_p).exp() - 1).abs() > clip
        return {
            "kl": self.kl(policy),
            "clip_fraction": counted_mean(outside.float(), self.counted),
            "entropy": counted_mean(policy.entropy(), self.counted),
        }
