"""Acrobot against gymnasium's, step by step."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import acrobot

from discrete_lightning.control.environments import Acrobot
from tests.control.environments import peers


@pytest.mark.parametrize("how", ["step", "take"])
def test_steps_are_gymnasiums(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, from gymnasium's state: to the rounding of squares, which gymnasium takes by the power function."""
    if how == "step":
        peers.torch_sines(monkeypatch, acrobot)
    env, equal, steps, ends, wraps = Acrobot(), 0, 0, 0, 0
    for before, action, (expected, reward, terminated) in peers.steps("Acrobot-v1", env, episodes=2, hold=6):
        transition = peers.stepped(env, before, action, how)
        after = transition.state[0].numpy()
        np.testing.assert_allclose(after, expected, rtol=0, atol=2e-14)
        assert (transition.reward.item(), transition.terminated.item()) == (reward, terminated)
        equal += np.array_equal(after, expected)
        ends += terminated
        steps += 1
        wraps += bool((np.abs(expected[:2] - before[0, :2].numpy()) > math.pi).any())
    assert equal > 0.95 * steps
    assert ends > 0
    assert wraps > 3


@pytest.mark.parametrize("how", ["step", "take"])
def test_fast_states_are_bounded_and_wrapped_as_gymnasiums(how: str) -> None:
    theirs = gymnasium.make("Acrobot-v1").unwrapped
    env = Acrobot()
    states = torch.rand(300, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    states = states * torch.tensor([math.pi, math.pi, 4 * math.pi, 9 * math.pi], dtype=torch.float64)
    actions = torch.arange(300)[:, None] % 3
    after = peers.stepped(env, states, actions, how)
    for i in range(300):
        theirs.reset(seed=0)
        theirs.state = states[i].numpy()
        _, reward, terminated, _, _ = theirs.step(int(actions[i]))
        np.testing.assert_allclose(after.state[i].numpy(), theirs.state, rtol=0, atol=1e-11)  # forces are large here
        assert (after.reward[i].item(), after.terminated[i].item()) == (reward, terminated)
    assert (after.state[:, 3].abs() == 9 * math.pi).any()


def test_a_state_that_is_not_finite_ends() -> None:
    assert not Acrobot().step(torch.full((1, 4), math.inf), torch.tensor([[1.0, 0.0, 0.0]])).state.isfinite().all()


def test_first_states_and_observations_are_gymnasiums() -> None:
    theirs = gymnasium.make("Acrobot-v1").unwrapped
    for seed in range(20):
        observation, _ = theirs.reset(seed=seed)
        uniform = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).random((1, 4))
        state = Acrobot().start(torch.from_numpy(uniform))
        # gymnasium rounds its first state to float32
        np.testing.assert_array_equal(state[0].float().numpy(), np.asarray(theirs.state, dtype=np.float32))
        np.testing.assert_allclose(Acrobot().observe(state)[0].float().numpy(), observation, rtol=0, atol=1e-7)


def test_attributes_are_gymnasiums() -> None:
    spec = gymnasium.spec("Acrobot-v1")
    assert (Acrobot().time_limit, Acrobot.reward_threshold) == (spec.max_episode_steps, spec.reward_threshold)


def test_gradients() -> None:
    peers.check_gradients(Acrobot(), torch.tensor([[0.3, -0.2, 0.5, 0.4], [3.1, -0.5, 2.0, 1.0], [0.1, 3.0, 0.0, 3.0]]))


def test_cost_is_the_height_missing_to_the_line() -> None:
    env = Acrobot()
    still = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    for state in torch.rand(50, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 6:
        after = env.step(state, still)
        assert (after.cost.item() < 0) == after.terminated.item()


def test_refuses_a_limit_below_1() -> None:
    with pytest.raises(ValueError, match="time_limit must be at least 1"):
        Acrobot(time_limit=0)
