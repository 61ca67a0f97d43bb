"""TargetEntropy: the target, the loss and its gradient, legal actions, precision, annealing, ranks."""

import math
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule

from discrete_lightning.control.target_entropy import TargetEntropy, epsilon_greedy_entropy, epsilon_of_entropy
from discrete_lightning.layers.recorded import made, recorded
from discrete_lightning.schedules import Linear
from discrete_lightning.training.annealing import WeightAnnealing
from tests.ranks import run_on_ranks


@pytest.mark.parametrize("actions", [2, 3, 18])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
def test_entropy_of_an_epsilon_greedy_policy(actions: int, epsilon: float) -> None:
    policy = torch.full((actions,), epsilon / actions, dtype=torch.float64)
    policy[0] += 1 - epsilon
    expected = torch.special.entr(policy).sum().item()
    assert epsilon_greedy_entropy(epsilon, actions).item() == pytest.approx(expected, abs=1e-6)
    assert TargetEntropy(actions, epsilon).target().item() == pytest.approx(expected, abs=1e-6)
    assert epsilon_of_entropy(min(expected, math.log(actions)), actions) == pytest.approx(epsilon, abs=1e-6)


def test_the_numbers_of_the_docstring() -> None:
    for actions, common, ours in ((2, 0.42, 0.05), (4, 0.64, 0.075), (6, 0.73, 0.083)):
        others = (actions - 1) / actions
        assert epsilon_of_entropy(0.98 * math.log(actions), actions) * others == pytest.approx(common, abs=0.005)
        assert 0.1 * others == pytest.approx(ours, abs=5e-4)


def test_loss_and_gradient() -> None:
    module = TargetEntropy(4, init=0.3)
    entropy = torch.tensor([[0.2, 0.9], [0.5, 1.2]], requires_grad=True)
    mask = torch.tensor([[True, True], [False, True]])
    target = module.target().item()
    loss = module(entropy, mask=mask)
    assert loss.item() == pytest.approx(0.3 * (2.3 / 3 - target), abs=1e-6)
    loss.backward()
    assert module.log_weight.grad is not None
    assert module.log_weight.grad.item() == pytest.approx(loss.item(), abs=1e-6)  # d exp(x) / dx
    assert entropy.grad is None
    assert module(entropy, mask=torch.zeros_like(mask)).item() == 0


@pytest.mark.parametrize(("entropy", "sign"), [(0.05, 1), (1.3, -1)])
def test_descent_raises_the_weight_while_the_entropy_is_below_the_target(entropy: float, sign: int) -> None:
    module = TargetEntropy(4)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    module(torch.tensor([entropy])).backward()
    optimizer.step()
    assert sign * (module.weight().item() - 1) > 0.005


def test_the_entropy_of_a_bandit_reaches_the_target() -> None:
    rewards, module = torch.tensor([1.0, 0.5, 0.0]), TargetEntropy(3, epsilon=0.2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(400):
        entropy = torch.distributions.Categorical(logits=rewards / module.weight().detach()).entropy()
        optimizer.zero_grad()
        module(entropy).backward()
        optimizer.step()
    assert entropy.item() == pytest.approx(module.target().item(), rel=0.01)


def test_legal_actions_set_the_target_of_each_state() -> None:
    module = TargetEntropy(6, epsilon=0.3)
    legal = torch.tensor([6, 2, 1])
    expected = torch.stack([epsilon_greedy_entropy(0.3, k) for k in (6, 2, 1)])
    assert torch.allclose(module.target(legal), expected)
    assert expected[2] == 0
    assert module(expected, legal).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match=r"each state, \(3,\), got \(2,\)"):
        module(expected, legal[:2])
    with pytest.raises(ValueError, match=r"shape of entropy, \(3,\), got \(2,\)"):
        module(expected, mask=torch.ones(2, dtype=torch.bool))


def test_several_components() -> None:
    module = TargetEntropy([3, 2])
    assert module.target().item() == pytest.approx(sum(epsilon_greedy_entropy(0.1, k).item() for k in (3, 2)))
    legal = torch.tensor([[3, 2], [1, 2]])
    assert module.target(legal).shape == (2,)
    assert module(module.target(legal), legal).item() == pytest.approx(0, abs=1e-6)


def test_float32_in_every_precision_and_its_arguments_are_recorded() -> None:
    module = TargetEntropy(4, epsilon=0.2, init=0.5).to(torch.bfloat16)
    assert module.log_weight.dtype == module.weight().dtype == module(torch.zeros(3).bfloat16()).dtype == torch.float32
    twin: Any = made(recorded(module))
    assert (twin.components, twin.epsilon().item()) == ((4,), pytest.approx(0.2))
    twin.load_state_dict(module.state_dict())
    assert twin.weight() == module.weight()


def test_annealing_moves_the_target() -> None:
    class Agent(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.exploration = TargetEntropy(4)

    agent = Agent()
    found = WeightAnnealing(Linear(0.5, 0.05, steps=10), only="*epsilon").scalars(agent)
    assert list(found) == ["exploration.epsilon"]
    found["exploration.epsilon"].set(1.0)
    assert agent.exploration.target().item() == pytest.approx(math.log(4))
    with pytest.raises(ValueError, match="at most 1"):
        agent.exploration.epsilon.set(1.5)


def loss_on_a_rank() -> tuple[float, float]:
    rank = torch.distributed.get_rank()
    module = TargetEntropy(4)
    loss = module(torch.tensor([0.1]) if rank else torch.tensor([0.4, 0.6, 0.9]))
    loss.backward()
    assert module.log_weight.grad is not None
    return loss.item(), module.log_weight.grad.item()


def test_two_ranks_have_the_loss_of_all_states() -> None:
    module = TargetEntropy(4)
    expected = module(torch.tensor([0.1, 0.4, 0.6, 0.9])).item()
    ranks = run_on_ranks(loss_on_a_rank)
    assert [loss for loss, _ in ranks] == pytest.approx([expected] * 2, abs=1e-6)
    assert sum(gradient for _, gradient in ranks) / 2 == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actions": 1}, "actions must be at least 2, got 1"),
        ({"actions": []}, "got none"),
        ({"actions": [3, 0]}, "actions must be at least 1, got 0"),
        ({"actions": 4, "epsilon": 1.1}, "at most 1"),
        ({"actions": 4, "epsilon": -0.1}, "must not be negative"),
        ({"actions": 4, "init": 0.0}, "init must be positive"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetEntropy(**arguments)


def test_an_entropy_that_no_policy_has() -> None:
    with pytest.raises(ValueError, match=r"over 2 actions is in \[0, 0.6931\]"):
        epsilon_of_entropy(0.7, 2)
