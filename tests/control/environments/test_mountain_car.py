"""MountainCar against gymnasium's, step by step."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import mountain_car

from discrete_lightning.control.environments import MountainCar
from tests.control.environments import peers


@pytest.mark.parametrize("how", ["step", "take"])
def test_episodes_are_gymnasiums(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64: to the bit with torch's sines, to a few units of the last digit else (gymnasium takes Python's)."""
    if how == "step":
        peers.torch_sines(monkeypatch, mountain_car)
    env, walls = MountainCar(), 0
    for before, action, (expected, reward, terminated) in peers.steps("MountainCar-v0", env, episodes=8, hold=30):
        transition = peers.stepped(env, before, action, how)
        if how == "step":
            np.testing.assert_array_equal(transition.state[0].numpy(), expected)
        else:
            np.testing.assert_allclose(transition.state[0].numpy(), expected, rtol=0, atol=1e-15)
        assert (transition.reward.item(), transition.terminated.item()) == (reward, terminated)
        walls += expected[0] == -1.2
    assert walls > 0


@pytest.mark.parametrize("how", ["step", "take"])
def test_steps_from_anywhere_are_gymnasiums(how: str) -> None:
    theirs = gymnasium.make("MountainCar-v0").unwrapped
    uniform = torch.rand(400, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    states = torch.tensor([-1.2, -0.07]) + uniform * torch.tensor([1.8, 0.14], dtype=torch.float64)
    actions = torch.arange(400)[:, None] % 3
    after = peers.stepped(MountainCar(), states, actions, how)
    for i in range(400):
        theirs.reset(seed=0)
        theirs.state = states[i].numpy()
        _, reward, terminated, _, _ = theirs.step(int(actions[i]))
        np.testing.assert_allclose(after.state[i].numpy(), theirs.state, rtol=0, atol=1e-15)
        assert (after.reward[i].item(), after.terminated[i].item()) == (reward, terminated)
    assert after.terminated.sum() > 10
    assert (after.state[:, 0] == 0.6).any()


def test_first_states_are_gymnasiums() -> None:
    theirs = gymnasium.make("MountainCar-v0").unwrapped
    for seed in range(20):
        theirs.reset(seed=seed)
        uniform = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).random((1, 1))
        np.testing.assert_array_equal(MountainCar().start(torch.from_numpy(uniform))[0].numpy(), theirs.state)


def test_attributes_are_gymnasiums() -> None:
    spec = gymnasium.spec("MountainCar-v0")
    assert (MountainCar().time_limit, MountainCar.reward_threshold) == (spec.max_episode_steps, spec.reward_threshold)


def test_gradients() -> None:
    peers.check_gradients(MountainCar(), torch.tensor([[-0.5, 0.01], [0.2, -0.03], [-1.1, 0.0]]))


def test_cost_is_1_at_the_bottom_and_0_where_the_energy_suffices() -> None:
    """A car with cost 0 rolls up to the goal and stops there: the energy is that of the dynamics, up to its small steps."""
    env, nothing = MountainCar(), torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    bottom = torch.tensor([[-np.pi / 6, 0.0]], dtype=torch.float64)
    assert env.step(bottom, nothing).cost.item() == pytest.approx(1.0, abs=1e-12)
    just_enough = float(np.sqrt(2 * 0.0025 / 3 * (np.sin(1.5) + 1)))
    for factor, arrives in ((1.05, True), (0.95, False)):
        state = torch.tensor([[-np.pi / 6, factor * just_enough]], dtype=torch.float64)
        costs, reached = [], False
        for _ in range(60):
            state, _, cost, ended = env.step(state, nothing)
            reached |= bool(ended)
            costs.append(cost.item())
        assert reached == arrives
        assert (max(costs[:5]) < 0) == arrives


def test_refuses_a_limit_below_1() -> None:
    with pytest.raises(ValueError, match="time_limit must be at least 1"):
        MountainCar(time_limit=-3)
