"""Both optima under an entropy bonus: fixed points, gradients that vanish there, DeepSea's closed form."""

import pytest
import torch

from discrete_lightning.control.tables import soft_values
from discrete_lightning.control.tables.deep_sea import (
    RIGHT,
    deep_sea,
    maximum_entropy_treasure,
    treasure_probability,
)
from discrete_lightning.control.tables.policy_gradients import loss_only_gradient, maximum_entropy_gradient
from discrete_lightning.control.tables.process import TabularProcess, toy_text
from discrete_lightning.control.tables.soft_values import loss_only_fixed_point, soft_value_iteration
from discrete_lightning.control.tables.values import action_values, entropy_return, policy_return
from tests.control.tables.enumeration import small_process, some_logits

GAMMA = 0.95


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0])
def test_the_soft_optimum_is_the_best_policy(beta: float) -> None:
    process = small_process()
    q, v = soft_value_iteration(process, GAMMA, beta)
    policy = torch.softmax(q / beta, -1)
    assert torch.allclose(action_values(process, policy, GAMMA, beta), q, atol=1e-10)
    assert torch.allclose(entropy_return(process, policy, GAMMA, beta), process.start @ v, atol=1e-10)
    assert maximum_entropy_gradient(process, q / beta, GAMMA, beta).abs().max() < 1e-10
    for seed in range(5):
        other = torch.softmax(q / beta + 0.1 * some_logits(process, seed), -1)
        assert entropy_return(process, other, GAMMA, beta) < process.start @ v


def test_several_bonuses_at_once() -> None:
    lake, betas = toy_text("FrozenLake-v1"), torch.tensor([0.03, 0.3])
    q, v = soft_value_iteration(lake, GAMMA, betas)
    for i, beta in enumerate(betas.double().tolist()):
        alone = soft_value_iteration(lake, GAMMA, beta)
        assert torch.allclose(q[i], alone[0], atol=1e-11)
        assert torch.allclose(v[i], alone[1], atol=1e-11)


@pytest.mark.parametrize("beta", [0.05, 0.1, 0.3])
def test_the_other_objective_stands_still_at_its_fixed_point(beta: float) -> None:
    lake = toy_text("FrozenLake-v1")
    policy = loss_only_fixed_point(lake, GAMMA, beta)
    assert torch.allclose(torch.softmax(action_values(lake, policy, GAMMA) / beta, -1), policy, atol=1e-12)
    assert loss_only_gradient(lake, policy.log(), GAMMA, beta).abs().max() < 1e-11
    assert maximum_entropy_gradient(lake, policy.log(), GAMMA, beta).abs().max() > 1e-3


def test_the_two_objectives_differ_on_frozen_lake() -> None:
    lake = toy_text("FrozenLake-v1")
    for beta, with_entropy, without in ((0.1, 0.056, 0.017), (0.01, 0.149, 0.148)):
        soft = torch.softmax(soft_value_iteration(lake, GAMMA, beta)[0] / beta, -1)
        assert policy_return(lake, soft, GAMMA).item() == pytest.approx(with_entropy, abs=6e-4)
        other = loss_only_fixed_point(lake, GAMMA, beta)
        assert policy_return(lake, other, GAMMA).item() == pytest.approx(without, abs=6e-4)


@pytest.mark.parametrize("size", [1, 2, 10, 20])
@pytest.mark.parametrize("beta", [0.02, 0.1, 0.12, 0.15, 1.0])
def test_deep_sea_in_closed_form(size: int, beta: float) -> None:
    q, _ = soft_value_iteration(deep_sea(size), 1.0, beta)
    found = treasure_probability(torch.softmax(q / beta, -1)).item()
    assert found == pytest.approx(maximum_entropy_treasure(size, beta), rel=1e-9)


def test_deep_sea_tells_the_objectives_apart() -> None:
    sea = deep_sea(10)
    expected = {0.1: (0.953, 0.9995), 0.12: (0.796, 0.9975), 0.15: (0.426, 0.9866)}
    for beta, (with_entropy, without) in expected.items():
        assert maximum_entropy_treasure(10, beta) == pytest.approx(with_entropy, abs=5e-4)
        fixed = loss_only_fixed_point(sea, 1.0, beta)
        assert treasure_probability(fixed).item() == pytest.approx(without, abs=1e-4)
        elsewhere = torch.softmax(5 * some_logits(sea), -1)  # no state comes twice: one solution
        assert torch.allclose(loss_only_fixed_point(sea, 1.0, beta, elsewhere), fixed, atol=1e-12)


@pytest.mark.parametrize("beta", [0.1, 0.15])
def test_the_gradient_of_each_objective_leads_from_uniform_to_its_own_optimum(beta: float) -> None:
    sea = deep_sea(6)
    soft = maximum_entropy_treasure(6, beta)
    other = treasure_probability(loss_only_fixed_point(sea, 1.0, beta)).item()
    for gradient, expected in ((maximum_entropy_gradient, soft), (loss_only_gradient, other)):
        logits = torch.zeros(36, 2, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.1)
        for _ in range(400):
            logits.grad = -gradient(sea, logits, 1.0, beta)
            optimizer.step()
        assert treasure_probability(torch.softmax(logits.detach(), -1)).item() == pytest.approx(expected, abs=0.003)
    assert other - soft > (0.05 if beta == 0.15 else 0.002)


def test_at_the_uniform_policy_the_first_step_points_right_up_to_eleven() -> None:
    for size in range(2, 16):
        gradient = maximum_entropy_gradient(deep_sea(size), torch.zeros(size * size, 2), 1.0)
        assert (gradient[0, RIGHT] > 0) == (size <= 11)


def test_deep_sea_by_hand() -> None:
    sea = deep_sea(3, cost=0.3)
    uniform = torch.full((9, 2), 0.5, dtype=torch.float64)
    assert treasure_probability(uniform).item() == 1 / 8
    assert policy_return(sea, uniform, 1.0).item() == pytest.approx(1 / 8 - 0.15)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soft_values, "_ITERATIONS", 1000)
    stays = TabularProcess(torch.ones(1, 1, 1), torch.ones(1, 1), torch.ones(1))
    with pytest.raises(ValueError, match="beta must be positive"):
        soft_value_iteration(stays, 0.9, 0.0)
    with pytest.raises(ValueError, match="gamma must be between"):
        soft_value_iteration(stays, -0.1, 1.0)
    with pytest.raises(ValueError, match="take gamma < 1"):
        soft_value_iteration(stays, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"still change .* after 3 iterations"):
        loss_only_fixed_point(toy_text("FrozenLake-v1"), GAMMA, 0.1, iterations=3)
    for arguments in ((0, 0.1), (3, 0.0), (3, 0.1, -1.0)):
        with pytest.raises(ValueError, match="must be"):
            maximum_entropy_treasure(*arguments)  # type: ignore[arg-type]
