"""Sampled episodes: their frequencies, and the unbiased gradient."""

import math

import pytest
import torch

from discrete_lightning.control.tables.deep_sea import deep_sea
from discrete_lightning.control.tables.episodes import TableSampler, episode_objective
from discrete_lightning.control.tables.policy_gradients import loss_only_gradient, maximum_entropy_gradient
from discrete_lightning.control.tables.values import entropy_return, state_visits
from tests.control.tables.enumeration import small_process, some_logits

GAMMA, BETA, HORIZON = 0.9, 0.3, 12
Z = 4.5  # two-sided: 7e-6 for each of at most 40 numbers


def estimates(count: int, repeats: int = 8000) -> tuple[torch.Tensor, torch.Tensor]:
    """Independent estimates of the gradient (repeats, S, A) and of J."""
    process = small_process()
    logits = some_logits(process).expand(repeats, -1, -1).clone().requires_grad_()
    policy = torch.softmax(logits, -1)
    drawn = TableSampler(process).draw(policy, count, HORIZON, torch.Generator().manual_seed(0))
    surrogate, objective = episode_objective(process, policy, drawn, GAMMA, BETA)
    return torch.autograd.grad(surrogate.sum(), logits)[0], objective


@pytest.mark.parametrize("count", [2, 8])
def test_the_gradient_is_unbiased(count: int) -> None:
    process = small_process()
    found, objective = estimates(count)
    exact = maximum_entropy_gradient(process, some_logits(process), GAMMA, BETA, HORIZON)
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - exact).abs() < Z * error).all()
    if count > 2:  # enough to tell the other objective apart
        other = loss_only_gradient(process, some_logits(process), GAMMA, BETA, HORIZON)
        assert ((found.mean(0) - other).abs() > Z * error).any()
    expected = entropy_return(process, torch.softmax(some_logits(process), -1), GAMMA, BETA, HORIZON)
    assert (objective.mean() - expected).abs() < Z * objective.std() / math.sqrt(len(objective))


def test_states_are_visited_as_often_as_the_tables_say() -> None:
    process = small_process(4, states=5, actions=3)
    policy = torch.softmax(some_logits(process, batch=(2,)), -1)
    count = 20_000
    drawn = TableSampler(process).draw(policy, count, 6, torch.Generator().manual_seed(1))
    for i in range(2):
        found = torch.stack([((drawn.states == s) & drawn.alive)[:, i].sum(0).double() for s in range(5)])
        expected = state_visits(process, policy[i], 1.0, 6)
        assert ((found.mean(1) - expected).abs() < Z * found.std(1) / math.sqrt(count)).all()


def test_episodes_stop_when_all_have_ended() -> None:
    policy = torch.full((3, 16, 2), 0.5, dtype=torch.float64)
    drawn = TableSampler(deep_sea(4)).draw(policy, 5, 100, torch.Generator().manual_seed(0))
    assert drawn.states.shape == (4, 3, 5)
    assert drawn.alive.all()


def test_the_generator_decides() -> None:
    policy = torch.full((1, 16, 2), 0.5, dtype=torch.float64)
    draws = [TableSampler(deep_sea(4)).draw(policy, 9, 9, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0].choices, draws[1].choices)
    assert not torch.equal(draws[0].choices, draws[2].choices)


def test_one_episode_has_no_others() -> None:
    policy = torch.full((1, 16, 2), 0.5, dtype=torch.float64)
    drawn = TableSampler(deep_sea(4)).draw(policy, 1, 9, torch.Generator())
    with pytest.raises(ValueError, match="take 2 episodes or more, got 1"):
        episode_objective(deep_sea(4), policy, drawn, GAMMA, BETA)
