"""Proximal policy optimisation (Schulman et al. 2017, https://arxiv.org/abs/1707.06347), with the details of Huang et al. 2022
(https://iclr-blog-track.github.io/2022/03/25/ppo-implementation-details/).

Several epochs of minibatches on each rollout. The clipped value loss is off by default, and advantages are computed anew in
each epoch (Andrychowicz et al. 2020, https://arxiv.org/abs/2006.05990, sections 3.1 and 3.5).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discrete_lightning.control.action_distribution import ActionDistribution
from discrete_lightning.control.advantage import Advantages, generalized_advantage
from discrete_lightning.control.methods.base import (
    Agent,
    ControlMethod,
    NetworkShape,
    entropic,
    minibatches,
    step_weights,
    value_of,
)
from discrete_lightning.control.ppo import clipped_value_loss, ppo_clip
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.statistics import counted_mean, explained_variance, standardized
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
        recompute: whether each epoch computes the advantages with the critic as it is then.
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
    recompute: bool = True
    target_kl: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"PPO: epochs and batch_size are 1 or more, got {self.epochs} and {self.batch_size}")
        if not self.clip > 0 or not 0 <= self.lambda_ <= 1:
            raise ValueError(f"PPO: clip > 0 and lambda_ in [0, 1], got {self.clip} and {self.lambda_}")

    def parts(self, shape: NetworkShape) -> dict[str, nn.Module]:
        return {"critic": shape.critic(), "clip": LossWeight(self.clip)}

    def update(self, agent: Agent) -> dict[str, Tensor]:
        rollout = agent.collect()
        counted = rollout.counted.flatten()
        with torch.no_grad():
            old = agent.policy(rollout.observations, rollout.legal)
            rewards = entropic(agent, rollout, old.entropy())
            old_log_p = old.log_probability(rollout.actions).flatten()
        old_logits = old.logits.flatten(0, 1)
        found, values = self._advantages(agent, rollout, rewards)
        figures = {"explained_variance": explained_variance(values, found.targets.flatten(), counted)}
        parts = _Flat(rollout, old_logits, old_log_p, values)
        sums: list[dict[str, Tensor]] = []
        for epoch in range(self.epochs):
            if epoch and self.recompute:
                found, _ = self._advantages(agent, rollout, rewards)
            for rows in minibatches(agent.collector, rollout.steps, self.batch_size):
                loss, each = self._loss(agent, parts, found, rows)
                if self.target_kl is not None and float(each["kl"]) > self.target_kl:
                    return figures | _means([*sums, each])
                agent.descend(loss)
                sums.append(each)
        return figures | _means(sums)

    def _advantages(self, agent: Agent, rollout: Rollout, rewards: Tensor) -> tuple[Advantages, Tensor]:
        with torch.no_grad():
            values, after = rollout.values(lambda observations, _: value_of(agent, observations))
        found = generalized_advantage(
            rewards, values, after, rollout.terminated, rollout.truncated, agent.gamma, self.lambda_, rollout.counted
        )
        return found, values.flatten()

    def _loss(self, agent: Agent, parts: "_Flat", found: Advantages, rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        counted, clip = parts.counted[rows], agent.parts["clip"]()
        policy = agent.policy(parts.observations[rows], None if parts.legal is None else parts.legal[rows])
        advantages, targets = found.advantages.flatten()[rows], found.targets.flatten()[rows]
        if self.normalize:
            advantages = standardized(advantages, counted)
        weights = step_weights(agent, parts.rollout)
        each_weight = weights.flatten()[rows] if isinstance(weights, Tensor) else weights
        log_p = policy.log_probability(parts.actions[rows])
        score = ppo_clip(log_p, parts.old_log_p[rows], advantages * each_weight, clip, mask=counted)
        entropy = policy.entropy()
        values = value_of(agent, parts.observations[rows])
        if self.value_clip is None:
            error = counted_mean((values - targets).square() / 2, counted)
        else:
            error = clipped_value_loss(values, parts.old_values[rows], targets, self.value_clip, mask=counted)
        loss = score + self.value_weight * error
        mean_entropy = counted_mean(each_weight * entropy, counted)
        loss = loss - agent.beta * mean_entropy
        with torch.no_grad():
            kl = ActionDistribution(parts.old_logits[rows]).kl(policy)
            outside = ((log_p - parts.old_log_p[rows]).exp() - 1).abs() > clip
            figures = {
                "policy_loss": score.detach(),
                "value_loss": error.detach(),
                "entropy": counted_mean(entropy.detach(), counted),
                "kl": counted_mean(kl, counted),
                "clip_fraction": counted_mean(outside.to(kl), counted),
            }
        return loss, figures


class _Flat:
    """A rollout as rows, (T * n, ...)."""

    def __init__(self, rollout: Rollout, old_logits: Tensor, old_log_p: Tensor, old_values: Tensor) -> None:
        self.rollout = rollout
        self.observations, self.actions = rollout.observations.flatten(0, 1), rollout.actions.flatten(0, 1)
        self.legal = None if rollout.legal is None else rollout.legal.flatten(0, 1)
        self.counted = rollout.counted.flatten()
        self.old_logits, self.old_log_p, self.old_values = old_logits, old_log_p, old_values


def _means(figures: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Of the losses the mean over the gradient steps; of the KL the last, that to the policy that comes of it."""
    found = {name: torch.stack([each[name] for each in figures]).mean() for name in figures[0]}
    return found | {"kl": figures[-1]["kl"]}
