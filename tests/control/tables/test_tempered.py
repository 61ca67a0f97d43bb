"""J as a function of the temperature: where its gradient is zero, where it is flat, and what is not identified."""

import pytest
import torch

from discrete_lightning.control.tables.process import TOY_TEXT, toy_text
from discrete_lightning.control.tables.soft_values import soft_value_iteration
from discrete_lightning.control.tables.tempered import (
    FLAT,
    NormedLogits,
    normed,
    root_mean_square,
    steepness,
    temperature_derivative,
    tempered_policy,
)
from discrete_lightning.control.tables.values import entropy_return
from tests.control.tables.enumeration import small_process, some_logits

GAMMA = 0.95


def test_the_derivative_is_that_of_autograd() -> None:
    process, betas = small_process(), torch.tensor([0.0, 0.5]).double()
    logits = some_logits(process, batch=(2,))
    log_tau = torch.tensor([-0.3, 0.4], dtype=torch.float64, requires_grad=True)
    objective = entropy_return(process, tempered_policy(logits, log_tau.exp()), GAMMA, betas)
    (expected,) = torch.autograd.grad(objective.sum(), log_tau)
    value, found = temperature_derivative(process, logits, GAMMA, betas, log_tau.detach().exp())
    assert torch.allclose(found, expected, atol=1e-12)
    assert torch.allclose(value, objective, atol=1e-12)


@pytest.mark.parametrize("name", TOY_TEXT)
def test_zero_at_beta_positive_below_negative_above(name: str) -> None:
    process, betas = toy_text(name), torch.tensor([0.03, 0.1, 0.3], dtype=torch.float64)
    q, _ = soft_value_iteration(process, GAMMA, betas)
    assert temperature_derivative(process, q, GAMMA, betas, betas)[1].abs().max() <= 1e-8
    alone = betas[-1:]  # the only one at which all three are steep
    for factor in (0.5, 0.9, 0.99):
        assert temperature_derivative(process, q[-1:], GAMMA, alone, factor * alone)[1] > 1e-4
        assert temperature_derivative(process, q[-1:], GAMMA, alone, alone / factor)[1] < -1e-4


@pytest.mark.parametrize("name", TOY_TEXT)
def test_where_the_gradient_is_flat(name: str) -> None:
    betas = torch.tensor([0.01, 0.03, 0.1, 0.2, 0.3], dtype=torch.float64)
    process = toy_text(name)
    q, _ = soft_value_iteration(process, GAMMA, betas)
    flat = steepness(process, q, GAMMA, betas, betas) < FLAT
    assert flat.tolist() == ([False] * 5 if name == "FrozenLake-v1" else [True, True, True, False, False])


def test_steepness_knows_no_units() -> None:
    lake = toy_text("FrozenLake-v1")
    q, _ = soft_value_iteration(lake, GAMMA, 0.1)
    scaled = type(lake)(lake.transitions, 7 * lake.rewards, lake.start)
    first, second = steepness(lake, q, GAMMA, 0.1, 0.1), steepness(scaled, 7 * q, GAMMA, 0.7, 0.7)
    assert first.item() == pytest.approx(second.item(), rel=1e-9)


def test_normed_logits() -> None:
    decisions = torch.tensor([True, True, False])
    logits = some_logits(small_process(), batch=(4,))
    found = normed(logits, decisions)
    assert torch.allclose(found.mean(-1), torch.zeros(4, 3).double(), atol=1e-12)
    assert torch.allclose(root_mean_square(found, decisions), torch.ones(4).double(), atol=1e-12)
    moved = 3 * (logits + torch.randn(4, 3, 1, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(normed(moved, decisions), found, atol=1e-6)
    layer = NormedLogits(4, decisions, 2)
    assert layer.to(torch.bfloat16).logits.dtype == torch.float32
    assert torch.equal(layer()[0], layer()[3])


def test_the_optimum_with_normed_logits() -> None:
    lake, betas = toy_text("FrozenLake-v1"), torch.tensor([0.03, 0.1, 0.3], dtype=torch.float64)
    q, _ = soft_value_iteration(lake, GAMMA, betas)
    truth = betas / root_mean_square(q, lake.decisions)
    assert torch.allclose(truth, torch.tensor([0.4946, 0.8745, 0.9545]).double(), atol=5e-5)
    assert temperature_derivative(lake, normed(q, lake.decisions), GAMMA, betas, truth)[1].abs().max() < 1e-8


def learned(free: bool, rate: float) -> tuple[float, float]:
    """(tau, J) at the end of training logits and log tau together, at one learning rate of tau."""
    lake, beta = toy_text("FrozenLake-v1"), 0.1
    logits = torch.randn(1, 16, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    log_tau = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([{"params": [logits], "lr": 0.05}, {"params": [log_tau], "lr": rate}])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 500)
    for _ in range(500):
        optimizer.zero_grad()
        scaled = logits if free else normed(logits, lake.decisions)
        objective = entropy_return(lake, tempered_policy(scaled, log_tau.exp()), GAMMA, beta)
        (-objective.sum()).backward()
        optimizer.step()
        schedule.step()
    return log_tau.exp().item(), objective.item()


def test_free_logits_and_temperature_are_not_identified() -> None:
    slow, fast = learned(free=True, rate=0.01), learned(free=True, rate=0.3)
    assert slow[1] == pytest.approx(fast[1], rel=1e-5)  # one policy
    assert abs(slow[0] / fast[0] - 1) > 0.1  # two temperatures
    slow, fast = learned(free=False, rate=0.01), learned(free=False, rate=0.3)
    assert slow[0] == pytest.approx(fast[0], rel=0.01)
    assert fast[0] == pytest.approx(0.8745, rel=0.01)
