"""CartPole against gymnasium's, step by step."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import cartpole

from discrete_lightning.control.environments import CartPole
from tests.control.environments import peers


@pytest.mark.parametrize("how", ["step", "take"])
def test_episodes_are_gymnasiums(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole random episodes in float64, each from its first state on, to the bit once sines are rounded alike."""
    if how == "step":
        peers.torch_sines(monkeypatch, cartpole)
    env, steps, state = CartPole(), 0, None
    for before, action, (expected, reward, terminated) in peers.steps("CartPole-v1", env, episodes=40, hold=1):
        transition = peers.stepped(env, before if state is None else state, action, how)
        np.testing.assert_array_equal(transition.state[0].numpy(), expected)
        assert (transition.reward.item(), transition.terminated.item()) == (reward, terminated)
        state = None if terminated else transition.state
        steps += 1
    assert steps > 600


def test_first_states_are_gymnasiums() -> None:
    theirs = gymnasium.make("CartPole-v1").unwrapped
    for seed in range(20):
        theirs.reset(seed=seed)
        uniform = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).random((1, 4))
        np.testing.assert_array_equal(CartPole().start(torch.from_numpy(uniform))[0].numpy(), theirs.state)


def test_attributes_are_gymnasiums() -> None:
    spec = gymnasium.spec("CartPole-v1")
    assert (CartPole().time_limit, CartPole.reward_threshold) == (spec.max_episode_steps, spec.reward_threshold)


def test_gradients() -> None:
    peers.check_gradients(CartPole(), torch.tensor([[0.3, -0.2, 0.05, 0.4], [-1.0, 0.5, -0.15, 1.0]]))


def test_the_cost_feels_an_action_after_two_steps() -> None:
    """Positions follow the velocities of the step before; of one step alone the gradient is 0, not missing."""
    env = CartPole()
    action = torch.tensor([[0.0, 1.0]], requires_grad=True)
    first = env.step(torch.zeros(1, 4), action)
    assert not torch.autograd.grad(first.cost.sum(), action, retain_graph=True)[0].any()
    second = env.step(first.state, torch.tensor([[0.0, 1.0]]))
    assert torch.autograd.grad(second.cost.sum(), action)[0].all()


def test_cost_exceeds_1_where_the_episode_has_ended() -> None:
    states = torch.tensor([[2.41, 0.0, 0.0, 0.0], [0.0, 0.0, 0.21, 0.0], [0.0, 0.0, 0.0, 0.0]])
    transition = CartPole().step(states, torch.full((3, 2), 0.5))
    assert transition.terminated.tolist() == [True, True, False]
    assert (transition.cost > 1).tolist() == [True, True, False]


def test_refuses_a_limit_below_1() -> None:
    with pytest.raises(ValueError, match="time_limit must be at least 1"):
        CartPole(time_limit=0)
