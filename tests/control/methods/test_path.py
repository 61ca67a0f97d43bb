"""The path gradient against autograd through an unroll that is written down: costs, ends, cuts, the critic's share."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.control.collector import Collector
from discrete_lightning.control.environments.deep_sea import DeepSea
from discrete_lightning.control.methods import Path
from discrete_lightning.control.policy import CategoricalPolicy
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.vector.base import EnvironmentFault
from discrete_lightning.control.vector.torch_environments import TorchEnvironments
from discrete_lightning.estimators import Estimator, StraightThrough
from discrete_lightning.layers.temperature import LossWeight
from tests.control.scripted import Scripted
from tests.references.every_estimator import each_pathwise

SIZE, NUMBER, BETA = 3, 4, 0.05


class PathAgent:
    """`Agent` for a table of logits over the cells of DeepSea."""

    def __init__(self, estimator: Estimator, steps: int, critic: nn.Module | None = None, number: int = NUMBER) -> None:
        torch.manual_seed(0)
        self.table = nn.Linear(SIZE * SIZE + 1, 2)
        self.policy = CategoricalPolicy(self.table, 2, estimator=estimator, relaxation=0.8)
        self.parts: Any = nn.ModuleDict({} if critic is None else {"critic": critic})
        self.memory, self.gamma, self.steps, self.maximum_entropy, self.discounted = None, 0.9, steps, False, False
        self.collector = Collector(TorchEnvironments(DeepSea(SIZE), number), seed=3)
        self.seen: list[Rollout] = []

    @property
    def beta(self) -> Tensor:
        return LossWeight(BETA)()

    def collect(self, whole_episodes: bool = False) -> Rollout:
        raise AssertionError

    def saw(self, rollout: Rollout) -> None:
        self.seen.append(rollout)

    def descend(self, loss: Tensor) -> None:
        self.table.zero_grad()
        loss.backward()


def _unrolled(agent: PathAgent, first: Tensor, generator: torch.Generator, steps: int, times: int = 0) -> Tensor:
    """The loss by hand: transition tables of DeepSea, all mixtures of states by matrix products."""
    env, state, costs, nats = DeepSea(SIZE), first, [], []
    start = torch.zeros_like(first)
    start[:, 0] = 1.0
    moves = torch.zeros(env.states, 2, env.states)
    rewards = torch.zeros(env.states, 2)
    for s in range(env.states or 0):
        for a in range(2):
            for p, after, reward, _ in env.P[s][a]:
                moves[s, a, after] += p
                rewards[s, a] += p * reward
    for t in range(steps):
        policy = agent.policy(state)
        one_hot = agent.policy.relaxed(policy, generator)[:, 0]
        pairs = state.unsqueeze(-1) * one_hot.unsqueeze(1)
        costs.append(-torch.einsum("nsa,sa->n", pairs, rewards))
        nats.append(policy.entropy())
        state = torch.einsum("nsa,sab->nb", pairs, moves)
        if (times + t + 1) % SIZE == 0:
            state = start  # the graph ends with the episode
    return torch.stack(costs).mean() - BETA * torch.stack(nats).mean()


@each_pathwise
@pytest.mark.parametrize("steps", [2, 3, 7])
def test_loss_and_gradient_are_those_of_the_unroll(estimator: Estimator, steps: int) -> None:
    agent = PathAgent(estimator, steps)
    first = agent.collector.now.observations.clone()
    state = agent.collector.generator.get_state()
    generator = agent.collector.device_generator()
    expected = _unrolled(agent, first, generator, steps)
    reference = torch.autograd.grad(expected, agent.table.weight)[0]
    agent.collector.generator.set_state(state)
    loss, figures = Path().loss(agent)
    slope = torch.autograd.grad(loss, agent.table.weight)[0]
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(slope, reference, rtol=1e-4, atol=1e-7)
    assert reference.abs().max() > 1e-4
    assert figures.keys() == {"cost", "entropy"}


def test_the_next_unroll_starts_where_the_last_one_ended_without_its_graph() -> None:
    agent = PathAgent(StraightThrough(), 2)
    agent.descend(Path().loss(agent)[0])
    assert not agent.collector.now.observations.requires_grad
    first = agent.collector.now.observations.clone()
    assert bool((first[:, 6:9].sum(-1) == 1).all())  # the third row
    state = agent.collector.generator.get_state()
    expected = _unrolled(agent, first, agent.collector.device_generator(), 2, times=2)
    agent.collector.generator.set_state(state)
    loss, _ = Path().loss(agent)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    agent.descend(loss)
    assert torch.equal(agent.seen[1].observations[0], first)
    assert agent.collector.episodes.take()["length"] == SIZE


def test_the_critic_says_what_comes_after_the_cut() -> None:
    """Discounted costs, and gamma^T V of the last state; the critic itself learns by its own error alone."""
    critic = nn.Linear(SIZE * SIZE + 1, 1)
    agent, gamma = PathAgent(StraightThrough(), 2, critic), 0.9
    first, state = agent.collector.now.observations.clone(), agent.collector.generator.get_state()
    generator = agent.collector.device_generator()
    rows, now, env = [], first, DeepSea(SIZE)
    for _ in range(2):
        policy = agent.policy(now)
        transition = env.step(now, agent.policy.relaxed(policy, generator)[:, 0])
        rows.append((transition.cost, policy.entropy()))
        now = transition.state
    nats = torch.stack([each for _, each in rows]).mean()
    value = (now @ critic.weight.detach()[0] + critic.bias.detach()).mean()
    expected = (rows[0][0].mean() + gamma * rows[1][0].mean() + gamma**2 * value) / 2 - BETA * nats
    reference = torch.autograd.grad(expected, agent.table.weight)[0]
    agent.collector.generator.set_state(state)
    loss, figures = Path(critic=True, value_weight=0.5).loss(agent)
    torch.testing.assert_close(loss - 0.5 * figures["value_loss"], expected, rtol=1e-5, atol=1e-6)
    slope, of_critic = torch.autograd.grad(loss, [agent.table.weight, critic.weight])
    torch.testing.assert_close(slope, reference, rtol=1e-4, atol=1e-7)
    rollout = agent.seen[0]
    last = rollout.last
    values = [critic(each).squeeze(-1) for each in (*rollout.observations, last)]
    deltas = [rollout.rewards[t] + gamma * values[t + 1].detach() - values[t].detach() for t in range(2)]
    targets = [values[0].detach() + deltas[0] + gamma * 0.95 * deltas[1], values[1].detach() + deltas[1]]
    error = torch.stack([(values[t] - targets[t]).square() / 2 for t in range(2)]).mean()
    torch.testing.assert_close(figures["value_loss"], error.detach())
    (alone,) = torch.autograd.grad(0.5 * error, critic.weight)
    torch.testing.assert_close(of_critic, alone, rtol=1e-4, atol=1e-7)


def test_an_episode_that_ends_inside_the_unroll_starts_the_discount_anew() -> None:
    critic = nn.Linear(SIZE * SIZE + 1, 1)
    nn.init.zeros_(critic.weight)
    nn.init.zeros_(critic.bias)
    agent = PathAgent(StraightThrough(), 2 * SIZE, critic)
    loss, figures = Path(critic=True).loss(agent)
    costs = agent.seen[0].rewards
    discounts = torch.tensor([1, 0.9, 0.81] * 2).unsqueeze(-1)
    expected = (discounts * costs).mean() - BETA * figures["entropy"] + 0.5 * figures["value_loss"]
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-5, atol=1e-6)


def test_other_environments_have_no_path() -> None:
    agent = PathAgent(StraightThrough(), 2)
    agent.collector = Collector(Scripted(2))
    with pytest.raises(EnvironmentFault, match="Scripted is none"):
        Path().loss(agent)
