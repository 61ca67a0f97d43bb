"""Policies, advantages and losses as one graph each, and with nothing in them."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.control import ControlMLP, generalized_advantage, ppo_clip
from discrete_lightning.control.policy import CategoricalPolicy
from discrete_lightning.layers.temperature import Temperature

pytestmark = pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")


def policy() -> CategoricalPolicy:
    torch.manual_seed(0)
    temperature = Temperature(0.7, learnable=True)
    return CategoricalPolicy(ControlMLP([4], 5, [6]), [2, 3], temperature, normed=True)


def test_a_policy_with_illegal_actions_is_one_graph() -> None:
    model, observations = policy(), torch.randn(7, 4, generator=torch.Generator().manual_seed(1))
    legal = torch.ones(7, 5, dtype=torch.bool)
    legal[:, 4] = False
    actions = torch.zeros(7, 2, dtype=torch.int64)

    def figures() -> tuple[Tensor, Tensor]:
        found = model(observations, legal)
        return found.log_probability(actions), found.entropy()

    expected = figures()
    gradients = torch.autograd.grad(sum(each.sum() for each in expected), list(model.parameters()))
    compiled = torch.compile(figures, fullgraph=True, backend="aot_eager")()
    torch.testing.assert_close(compiled, expected)
    found = torch.autograd.grad(sum(each.sum() for each in compiled), list(model.parameters()))
    torch.testing.assert_close(found, gradients)


def test_advantages_and_the_loss_are_one_graph() -> None:
    r = torch.randn(9, 3, generator=torch.Generator().manual_seed(1))
    ends = r > 1

    def loss() -> Tensor:
        found = generalized_advantage(r, r * 2, r * 3, ends, ends)
        return ppo_clip(r, r / 2, found.advantages, mask=~ends)

    torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="aot_eager")(), loss())


def test_nothing_gives_nothing() -> None:
    found = policy()(torch.zeros(0, 4))
    assert found.entropy().shape == (0,)
    assert found.draw().shape == (0, 2)
    assert ppo_clip(torch.zeros(0), torch.zeros(0), torch.zeros(0)) == 0
    none = torch.zeros(0, 3)
    assert generalized_advantage(none, none, none, none > 0, none > 0).targets.shape == (0, 3)
