"""Values, visits and policy gradients against the enumeration of all trajectories."""

import pytest
import torch

from discrete_lightning.control.tables.policy_gradients import loss_only_gradient, maximum_entropy_gradient
from discrete_lightning.control.tables.values import (
    action_values,
    entropy_return,
    policy_return,
    state_values,
    state_visits,
)
from tests.control.tables.enumeration import (
    HORIZON,
    enumerated_loss_only,
    enumerated_return,
    small_process,
    some_logits,
    trajectories,
)

GAMMA, BETA = 0.9, 0.3
PROCESS = small_process()
LOGITS = some_logits(PROCESS)
POLICY = torch.softmax(LOGITS, -1)


@pytest.mark.parametrize("beta", [0.0, BETA])
def test_return_and_its_gradient(beta: float) -> None:
    mine, theirs = (LOGITS.clone().requires_grad_() for _ in range(2))
    found = entropy_return(PROCESS, torch.softmax(mine, -1), GAMMA, beta, HORIZON)
    expected = enumerated_return(PROCESS, torch.softmax(theirs, -1), GAMMA, beta)
    assert torch.allclose(found, expected, atol=1e-12)
    (slope,) = torch.autograd.grad(expected, theirs)
    assert torch.allclose(torch.autograd.grad(found, mine)[0], slope, atol=1e-12)
    assert torch.allclose(maximum_entropy_gradient(PROCESS, LOGITS, GAMMA, beta, HORIZON), slope, atol=1e-12)
    if not beta:
        assert torch.allclose(policy_return(PROCESS, POLICY, GAMMA, HORIZON), expected, atol=1e-12)


@pytest.mark.parametrize("visit_gamma", [None, 1.0])
def test_gradient_with_entropy_in_the_loss_only(visit_gamma: float | None) -> None:
    found = loss_only_gradient(PROCESS, LOGITS, GAMMA, BETA, HORIZON, visit_gamma)
    expected = enumerated_loss_only(PROCESS, LOGITS, GAMMA, BETA, GAMMA if visit_gamma is None else visit_gamma)
    assert torch.allclose(found, expected, atol=1e-12)
    assert not torch.allclose(found, maximum_entropy_gradient(PROCESS, LOGITS, GAMMA, BETA, HORIZON), atol=1e-3)


def test_without_a_bonus_both_gradients_are_one() -> None:
    for horizon in (None, 1, 7):
        plain = maximum_entropy_gradient(PROCESS, LOGITS, GAMMA, 0.0, horizon)
        assert torch.allclose(loss_only_gradient(PROCESS, LOGITS, GAMMA, 0.0, horizon), plain, atol=1e-12)


def test_visits_by_enumeration() -> None:
    expected = torch.zeros(PROCESS.states, dtype=torch.float64)
    for probability, path in trajectories(PROCESS, POLICY):
        for t, (state, _) in enumerate(path):
            expected[state] += probability * GAMMA**t
    assert torch.allclose(state_visits(PROCESS, POLICY, GAMMA, HORIZON), expected, atol=1e-12)


def test_no_horizon_is_a_long_one() -> None:
    for function in (state_values, action_values):
        endless = function(PROCESS, POLICY, GAMMA, BETA)
        assert torch.allclose(endless, function(PROCESS, POLICY, GAMMA, BETA, 200), atol=1e-12)
    assert torch.allclose(state_visits(PROCESS, POLICY, 1.0), state_visits(PROCESS, POLICY, 1.0, 400), atol=1e-12)
    for function in (maximum_entropy_gradient, loss_only_gradient):
        endless = function(PROCESS, LOGITS, GAMMA, BETA)
        assert torch.allclose(endless, function(PROCESS, LOGITS, GAMMA, BETA, 200), atol=1e-12)


def test_values_of_states_and_actions_agree() -> None:
    q, v = action_values(PROCESS, POLICY, GAMMA, BETA), state_values(PROCESS, POLICY, GAMMA, BETA)
    entropies = torch.distributions.Categorical(POLICY).entropy()
    assert torch.allclose((POLICY * q).sum(-1) + BETA * entropies, v, atol=1e-12)


def test_several_policies_at_once() -> None:
    logits, betas = some_logits(PROCESS, batch=(5,)), torch.linspace(0.0, 1.0, 5)
    policies = torch.softmax(logits, -1)
    for function, given in (
        (entropy_return, policies),
        (action_values, policies),
        (maximum_entropy_gradient, logits),
        (loss_only_gradient, logits),
    ):
        for horizon in (None, 3):
            together = function(PROCESS, given, GAMMA, betas, horizon)
            for i, beta in enumerate(betas.tolist()):
                assert torch.allclose(together[i], function(PROCESS, given[i], GAMMA, beta, horizon), atol=1e-12)


def test_a_probability_of_zero_has_a_finite_gradient() -> None:
    logits = torch.tensor([[0.0, 2000.0]] * 3, dtype=torch.float64, requires_grad=True)
    entropy_return(PROCESS, torch.softmax(logits, -1), GAMMA, BETA).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"is \(..., 3, 2\), got \(2, 3\)"):
        policy_return(PROCESS, torch.ones(2, 3), GAMMA)
    with pytest.raises(ValueError, match=r"gamma must be between 0 and 1, got 1\.1"):
        state_visits(PROCESS, POLICY, 1.1)
