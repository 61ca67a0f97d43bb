"""Gradients of every method against the exact gradient of a small process: all episodes, each by its probability.

A loss that is a mean over steps is taken times the number of steps: the mean is then over episodes, as in the objective.
"""

from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.control.methods import A2C, PPO, REINFORCE, SAC, AllActions, LeaveOneOut
from discrete_lightning.control.replay import Transitions
from discrete_lightning.layers.temperature import LossWeight
from tests.control.methods.agents import HandAgent, Table
from tests.references.decision_process import (
    DETERMINISTIC,
    STATES,
    STOCHASTIC,
    Episode,
    Process,
    episodes,
    exact_gradient,
    objective,
    rollout_of,
    timed_values,
)

LOGITS = torch.tensor([[0.3, -0.2], [-0.5, 0.4], [0.1, 0.8], [0.0, 0.0]], dtype=torch.float64)
BETA = 0.25
each_process = pytest.mark.parametrize("process", [DETERMINISTIC, STOCHASTIC], ids=["deterministic", "stochastic"])
each_objective = pytest.mark.parametrize("maximum_entropy", [False, True], ids=["regularized", "maximum_entropy"])
each_gamma = pytest.mark.parametrize("gamma", [1.0, 0.8])


def _critics(process: Process, gamma: float, maximum_entropy: bool) -> dict[str, nn.Module]:
    """V that is exact; at the time limit it is 0, as the objective ends there."""
    v, _ = timed_values(process, LOGITS, gamma, BETA if maximum_entropy else 0.0)
    return {"critic": Table(v.unsqueeze(-1), timed=True)}


def _q_table(process: Process, gamma: float, maximum_entropy: bool) -> Table:
    _, q = timed_values(process, LOGITS, gamma, BETA if maximum_entropy else 0.0)
    return Table(torch.cat([q, torch.zeros_like(q[:1])]), timed=True)


def _agent(gamma: float, maximum_entropy: bool, parts: dict[str, nn.Module]) -> HandAgent:
    return HandAgent(LOGITS, gamma, BETA, maximum_entropy, parts)


def _expected(process: Process, gradient: Callable[[Episode], Tensor]) -> Tensor:
    """The mean gradient over all episodes, by their probability."""
    found = [each.probability(LOGITS) * gradient(each) for each in episodes(process)]
    return torch.stack(found).sum(0)


def _slope(loss: Tensor, agent: HandAgent) -> Tensor:
    return torch.autograd.grad(loss, agent.table.values)[0]


def _close(loss_gradient: Tensor, process: Process, gamma: float, maximum_entropy: bool) -> None:
    exact = exact_gradient(process, LOGITS, gamma, BETA, maximum_entropy)
    # beta and advantages pass through float32
    torch.testing.assert_close(-loss_gradient, exact, rtol=1e-6, atol=1e-7)


def test_the_reference_is_right() -> None:
    """Probabilities sum to 1; V is the objective; the gradient is that of finite differences."""
    for process in (DETERMINISTIC, STOCHASTIC):
        assert sum(each.probability(LOGITS).item() for each in episodes(process)) == pytest.approx(1)
        v, _ = timed_values(process, LOGITS, 0.8, BETA)
        assert 0.6 * v[0, 0] + 0.4 * v[0, 2] == pytest.approx(objective(process, LOGITS, 0.8, BETA).item())
        step = torch.zeros_like(LOGITS)
        step[1, 0] = 1e-5
        sides = [objective(process, LOGITS + sign * step, 0.8, BETA) for sign in (1, -1)]
        exact = exact_gradient(process, LOGITS, 0.8, BETA, maximum_entropy=True)[1, 0]
        assert ((sides[0] - sides[1]) / 2e-5).item() == pytest.approx(exact.item(), rel=1e-6)
    different = [exact_gradient(STOCHASTIC, LOGITS, 1.0, BETA, each) for each in (False, True)]
    assert (different[0] - different[1]).abs().max() > 0.01


@each_process
@each_objective
@each_gamma
@pytest.mark.parametrize("critic", ["none", "exact", "wrong"])
def test_reinforce(process: Process, maximum_entropy: bool, gamma: float, critic: str) -> None:
    """A baseline changes nothing on the mean, even a wrong one, if it is 0 at the time limit."""
    parts: dict[str, nn.Module] = {}
    if critic != "none":
        parts = _critics(process, gamma, maximum_entropy)
    if critic == "wrong":
        table: Any = parts["critic"]
        with torch.no_grad():
            table.values[:-1, : STATES - 1] += torch.linspace(-2, 3, STATES - 1).view(1, -1, 1)
    agent = _agent(gamma, maximum_entropy, parts)
    method = REINFORCE(critic=critic != "none", value_weight=0.0)
    found = _expected(process, lambda each: _slope(method.loss(agent, rollout_of([each]))[0], agent))
    _close(found, process, gamma, maximum_entropy)


@each_process
@each_objective
@each_gamma
def test_leave_one_out_over_all_pairs(process: Process, maximum_entropy: bool, gamma: float) -> None:
    agent, every = _agent(gamma, maximum_entropy, {}), episodes(process)
    pairs = [  # the order of two episodes does not matter
        (1 if first is second else 2)
        * first.probability(LOGITS)
        * second.probability(LOGITS)
        * _slope(LeaveOneOut().loss(agent, rollout_of([first, second]))[0], agent)
        for first, second in combinations_with_replacement(every, 2)
    ]
    _close(torch.stack(pairs).sum(0), process, gamma, maximum_entropy)


@each_process
@each_objective
@each_gamma
@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_a2c(process: Process, maximum_entropy: bool, gamma: float, lambda_: float) -> None:
    """With an exact critic any lambda is unbiased."""
    agent = _agent(gamma, maximum_entropy, _critics(process, gamma, maximum_entropy))
    method = A2C(lambda_=lambda_, value_weight=0.0)
    found = _expected(
        process, lambda each: len(each.actions) * _slope(method.loss(agent, rollout_of([each]))[0], agent)
    )
    _close(found, process, gamma, maximum_entropy)


@each_process
@each_objective
@each_gamma
def test_the_first_step_of_ppo(process: Process, maximum_entropy: bool, gamma: float) -> None:
    agent = _agent(gamma, maximum_entropy, {})
    method = PPO(epochs=1, lambda_=0.7, value_weight=0.0, normalize=False)
    agent.parts.update(_critics(process, gamma, maximum_entropy) | {"clip": LossWeight(0.2)})

    def slope(each: Episode) -> Tensor:
        agent.rollout, agent.gradients = rollout_of([each]), []
        method.update(agent)
        assert len(agent.gradients) == 1
        return len(each.actions) * agent.gradients[0]

    _close(_expected(process, slope), process, gamma, maximum_entropy)


@each_process
@each_objective
@each_gamma
def test_all_actions_with_exact_values(process: Process, maximum_entropy: bool, gamma: float) -> None:
    agent = _agent(gamma, maximum_entropy, {"critic": _q_table(process, gamma, maximum_entropy)})
    found = _expected(
        process,
        lambda each: len(each.actions) * _slope(AllActions().policy_loss(agent, rollout_of([each]))[0], agent),
    )
    _close(found, process, gamma, maximum_entropy)


@each_process
@each_objective
def test_sac_with_exact_values(process: Process, maximum_entropy: bool) -> None:
    """Its policy's part, over the states as the policy visits them; and its critics' error, 0 where they are exact."""
    q = _q_table(process, 1.0, maximum_entropy)
    agent = _agent(1.0, maximum_entropy, dict.fromkeys(("critic1", "critic2", "target1", "target2"), q))
    errors = []

    def slope(each: Episode) -> Tensor:
        rollout = rollout_of([each])
        after = torch.cat([rollout.observations[1:, 0], rollout.last])
        batch = Transitions(
            rollout.observations[:, 0], rollout.actions[:, 0], rollout.rewards[:, 0], rollout.terminated[:, 0],
            rollout.counted[:, 0], after, None, None,
        )  # fmt: skip
        loss, figures = SAC(target_epsilon=None).loss(agent, batch)
        errors.append(figures["value_loss"])
        return len(each.actions) * _slope(loss, agent)

    _close(_expected(process, slope), process, 1.0, maximum_entropy)
    if process is DETERMINISTIC and not maximum_entropy:
        assert max(errors) < 1e-10


@each_objective
@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_the_critic_of_all_actions_is_exact_at_its_fixed_point(maximum_entropy: bool, gamma: float) -> None:
    """Where transitions are deterministic and Q is exact, no TD(0) target differs from it."""
    agent = _agent(gamma, maximum_entropy, {"critic": _q_table(DETERMINISTIC, gamma, maximum_entropy)})
    for each in episodes(DETERMINISTIC):
        if each.terminated:  # at a time limit the critic's value of the last state is 0 and its entropy is not
            error, _ = AllActions(lambda_=0.0).critic_loss(agent, rollout_of([each]))
            assert error < 1e-10
