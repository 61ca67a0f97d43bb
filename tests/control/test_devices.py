"""Rollouts, evaluations and losses where the policy is on an accelerator, a pretended one: no operation mixes devices."""

import gymnasium
import pytest
import torch
from torch import nn

from discrete_lightning.control import A2C, PPO, REINFORCE, SAC, AllActions, CartPole, LeaveOneOut, Path
from discrete_lightning.control.collector import Collector
from discrete_lightning.control.evaluation import random_actions, run_episodes
from discrete_lightning.control.methods.base import ControlMethod, NetworkShape
from discrete_lightning.control.networks import ControlMLP
from discrete_lightning.control.policy import CategoricalPolicy
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.vector.base import VectorEnvironments
from discrete_lightning.control.vector.environment_list import EnvironmentList
from discrete_lightning.control.vector.torch_environments import TorchEnvironments
from discrete_lightning.estimators import StraightThroughGumbel
from tests.harness.device import PretendDevice

METHODS = [REINFORCE(), LeaveOneOut(), A2C(), PPO(epochs=2, batch_size=8), AllActions(2), Path(critic=True)]
METHODS.append(SAC(batch_size=8, gradient_steps=2, warm_up=0))


class Agent:
    """What a method trains, with plain gradient descent."""

    maximum_entropy, discounted, gamma, steps = True, False, 0.9, 6

    def __init__(self, method: ControlMethod) -> None:
        torch.manual_seed(0)
        shape = NetworkShape((4,), (2,), (8,), "tanh")
        network = ControlMLP((4,), 2, (8,))
        estimator = StraightThroughGumbel() if method.path else None
        self.policy = CategoricalPolicy(network, 2, estimator=estimator)
        self.parts = nn.ModuleDict(method.parts(shape))
        self.memory = method.memory()
        self.beta = torch.tensor(0.01)
        self.losses: list[float] = []

    def learn(self, method: ControlMethod, kind: str, device: str) -> list[float]:
        self.collector = Collector(made(kind, device), seed=3, device=device)
        figures = [method.update(self) for _ in range(2)]
        return [*self.losses, *(float(each.cpu()) for found in figures for each in found.values())]

    def collect(self, whole_episodes: bool = False) -> Rollout:
        if whole_episodes:
            return self.collector.collect_episodes(20, self.policy, self.policy.choice)
        return self.collector.collect(self.steps, self.policy, self.policy.choice)

    def saw(self, rollout: Rollout) -> None:
        assert rollout.steps == self.steps

    def descend(self, loss: torch.Tensor) -> None:
        self.losses.append(float(loss.detach().cpu()))
        weights = [each for each in (*self.policy.parameters(), *self.parts.parameters()) if each.requires_grad]
        with torch.no_grad():
            for weight, slope in zip(weights, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
                if slope is not None:
                    weight.sub_(0.01 * slope)


def made(kind: str, device: str) -> VectorEnvironments:
    if kind == "torch":
        return TorchEnvironments(CartPole(), 2, device=device, time_limit=20)
    return EnvironmentList([gymnasium.make("CartPole-v1", max_episode_steps=20) for _ in range(2)])


@pytest.mark.parametrize("kind", ["torch", "gymnasium"])
@pytest.mark.parametrize("method", METHODS, ids=lambda each: type(each).__name__)
def test_a_method_learns_on_an_accelerator(method: ControlMethod, kind: str) -> None:
    if method.path and kind == "gymnasium":
        pytest.skip("Path needs an environment in torch")
    expected, agent = Agent(method).learn(method, kind, "cpu"), Agent(method)
    before = [each.clone() for each in agent.policy.parameters()]
    with PretendDevice("cuda"):  # what was made before is on the device
        found = agent.learn(method, kind, "cuda")
    assert len(found) == len(expected) > 4  # the noise is another one
    assert any(not torch.equal(a, b) for a, b in zip(before, agent.policy.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["torch", "gymnasium"])
def test_episodes_are_counted_on_the_host(kind: str) -> None:
    expected = run_episodes(made(kind, "cpu"), random_actions(made(kind, "cpu"), 2, 0), 0)
    with PretendDevice("cuda"):
        environments = made(kind, "cuda")
        found = run_episodes(environments, random_actions(environments, 2, 0), 0)
    assert found.returns.tolist() == expected.returns.tolist()
    assert found.lengths.tolist() == expected.lengths.tolist()
