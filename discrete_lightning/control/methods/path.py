"""The path gradient: a one-hot action with an estimator's gradient, through a differentiable environment, to a smooth cost.

    loss = mean over steps of cost_t - beta H(pi(. | s_t)),   s_t+1, cost_t = step(s_t, one_hot_t),   one_hot_t = sample(f(s_t))

as in SHAC (Xu et al. 2022, https://arxiv.org/abs/2204.07137): short unrolls, cut from one another, with the value of the last
state where there is a critic. An episode's end cuts the path, too. Where dynamics jump the path gradient is biased (Suh et al.
2022, https://arxiv.org/abs/2202.00817): what only the end of an episode brings has no gradient.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from discrete_lightning.control.methods.base import (
    Agent,
    ControlMethod,
    NetworkShape,
    assess,
    check_lambda,
    critic_error,
)
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.statistics import counted_mean
from discrete_lightning.control.vector.base import EnvironmentFault, Observed
from discrete_lightning.control.vector.torch_environments import TorchEnvironments
from discrete_lightning.distributed import global_mean


@dataclass(frozen=True)
class Path(ControlMethod):
    """One gradient step on each unroll of `steps` steps; the estimator is the module's `estimator`.

    Args:
        critic: whether a critic says what the cost after the last step is; costs are then discounted.
        lambda_: of the critic's targets, in [0, 1].
        value_weight: of the critic's squared error.
    """

    critic: bool = False
    lambda_: float = 0.95
    value_weight: float = 0.5
    path: ClassVar[bool] = True
    weighs_steps: ClassVar[bool] = False
    single: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_lambda(self.lambda_, "Path")

    def parts(self, shape: NetworkShape) -> dict[str, nn.Module]:
        return {"critic": shape.critic()} if self.critic else {}

    def update(self, agent: Agent) -> dict[str, Tensor]:
        loss, figures = self.loss(agent)
        agent.descend(loss)
        return figures

    def loss(self, agent: Agent) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss above of an unroll from where the environments are; afterwards their states are cut from the graph."""
        collector = agent.collector
        environments = collector.environments
        if not isinstance(environments, TorchEnvironments):
            raise EnvironmentFault(f"the path gradient needs an environment in torch, and {environments.name} is none")
        generator, now = collector.device_generator(), collector.now
        rows: list[tuple[Tensor, ...]] = []
        discount = torch.ones(environments.count, device=collector.device)
        left = torch.zeros((), device=collector.device)
        for _ in range(agent.steps):
            policy = agent.policy(now.observations, now.legal)
            sample = agent.policy.relaxed(policy, generator, environments.first, collector.total)
            transition, step = environments.differentiable_step(sample[:, 0])
            cost, entropy = transition.cost.float(), policy.entropy()
            seen = now.observations.detach()
            rows.append((seen, cost, entropy, discount, step.terminated, step.truncated, step.final.detach()))
            ended = step.terminated | step.truncated
            collector.count(step)
            if self.critic:
                last = len(rows) == agent.steps  # what is left after a time limit, and after the last step
                open_end = (step.truncated | last) & ~step.terminated
                value = _frozen(agent.parts["critic"], step.final) * discount * agent.gamma
                left = left + torch.where(open_end, value, 0.0).sum()
                discount = torch.where(ended, 1.0, discount * agent.gamma)
            now = step.next
        seen, cost, entropy, discounts, terminated, truncated, final = (
            torch.stack(each) for each in zip(*rows, strict=True)
        )
        counted = torch.ones_like(terminated)
        loss = counted_mean(discounts * cost, counted) - agent.beta * counted_mean(entropy, counted)
        figures = {"cost": counted_mean(cost.detach(), counted), "entropy": counted_mean(entropy.detach(), counted)}
        rollout = Rollout(
            seen, torch.zeros_like(counted, dtype=torch.int64).unsqueeze(-1), cost.detach(), terminated, truncated, counted,
            now.observations.detach(), final[truncated], None, None, torch.zeros_like(counted, dtype=torch.int64),
        )  # fmt: skip
        agent.saw(rollout)
        if self.critic:
            loss = loss + global_mean(left, counted.numel())
            values, found = assess(agent, rollout, rollout.rewards, self.lambda_)
            error, more = critic_error(values, found.targets, counted)
            loss, figures = loss + self.value_weight * error, figures | more
        environments.detach()
        collector.move(Observed(now.observations.detach(), now.legal))
        return loss, figures


def _frozen(critic: nn.Module, observations: Tensor) -> Tensor:
    """Values whose gradient reaches the observations, and not the critic."""
    weights = {name: each.detach() for name, each in critic.named_parameters()}
    found: Tensor = functional_call(critic, weights, (observations,))
    return found.squeeze(-1).float()
