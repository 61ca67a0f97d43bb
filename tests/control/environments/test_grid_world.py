"""GridWorld against gymnasium's FrozenLake: tables, episodes; walls and several starts."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from discrete_lightning.control.environments import GridWorld
from tests.control.environments import peers

NAMES = {"4x4": "FrozenLake-v1", "8x8": "FrozenLake8x8-v1"}


@pytest.mark.parametrize("slippery", [True, False])
@pytest.mark.parametrize("layout", ["4x4", "8x8"])
def test_tables_are_gymnasiums(layout: str, slippery: bool) -> None:
    env, theirs = GridWorld(layout, slippery), gymnasium.make(NAMES[layout], is_slippery=slippery).unwrapped
    assert env.states == theirs.observation_space.n
    for s in range(env.states):
        for a in range(4):
            assert env.P[s][a] == [tuple(each) for each in theirs.P[s][a]]
    assert env.initial_state_distrib == list(theirs.initial_state_distrib)


@pytest.mark.parametrize("slippery", [True, False])
@pytest.mark.parametrize("how", ["step", "take"])
def test_steps_are_the_tables(how: str, slippery: bool) -> None:
    """Of every state and action, with numbers in the middle of each outcome."""
    env = GridWorld("4x4", slippery)
    for s in range(16):
        for a in range(4):
            state = torch.eye(16)[[s]]
            for i, (_, reached, reward, terminated) in enumerate(env.P[s][a]):
                noise = torch.tensor([[(i + 0.5) / 3]]) if slippery else None
                if how == "take":
                    after = env.take(state, torch.tensor([[a]]), noise)
                else:
                    after = env.step(state, torch.eye(4)[[a]], noise)
                assert torch.equal(after.state, torch.eye(16)[[reached]])
                assert (after.reward.item(), after.terminated.item()) == (reward, terminated)
                expected = sum(p * r for p, _, r, _ in env.P[s][a])
                assert after.cost.item() == pytest.approx(-expected)


def test_slippery_episodes_are_gymnasiums() -> None:
    """With gymnasium's own random numbers."""
    env, theirs = GridWorld("4x4"), gymnasium.make("FrozenLake-v1").unwrapped
    rng = np.random.default_rng(0)
    ends = 0
    for seed in range(40):
        position, _ = theirs.reset(seed=seed)
        numbers = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        state = env.start(torch.from_numpy(numbers.random((1, 1))))
        assert state.argmax() == position
        for _ in range(20):
            action = int(rng.integers(4))
            position, reward, terminated, _, _ = theirs.step(action)
            state, ours, _, ended = env.take(state, torch.tensor([[action]]), torch.from_numpy(numbers.random((1, 1))))
            assert (state.argmax(), ours, ended) == (position, reward, terminated)
            if terminated:
                ends += 1
                break
    assert ends > 20


def test_attributes_are_gymnasiums() -> None:
    for layout, name in NAMES.items():
        spec = gymnasium.spec(name)
        env = GridWorld(layout)
        assert (env.time_limit, env.reward_threshold) == (spec.max_episode_steps, spec.reward_threshold)
    assert GridWorld(["SG"]).time_limit is None
    assert GridWorld("4x4", time_limit=7).time_limit == 7


@pytest.mark.parametrize("slippery", [True, False])
def test_gradients(slippery: bool) -> None:
    env = GridWorld(["SF", "#G"], slippery)
    states = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.2, 0.5, 0.0, 0.3]])
    peers.check_gradients(env, states, torch.tensor([[0.1], [0.5], [0.9]], dtype=torch.float64))


def test_mixed_actions_give_mixed_states() -> None:
    env = GridWorld(["SF", "FG"], slippery=False)
    action = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    after = env.step(env.start(torch.zeros(1, 1)), action)
    torch.testing.assert_close(after.state, torch.tensor([[0.5, 0.3, 0.2, 0.0]]))


def test_walls_are_not_entered() -> None:
    env = GridWorld(["S#G", "FFF"], slippery=False)
    for action, reached in ((0, 0), (1, 3), (2, 0), (3, 0)):
        assert env.take(torch.eye(6)[[0]], torch.tensor([[action]])).state.argmax() == reached
    assert env.take(torch.eye(6)[[4]], torch.tensor([[3]])).state.argmax() == 4


def test_several_starts_are_equally_likely() -> None:
    env = GridWorld(["SFS", "FGS"])
    starts = env.start((torch.arange(300)[:, None] + 0.5) / 300)
    assert starts.sum(0).tolist() == [100.0, 0.0, 100.0, 0.0, 0.0, 100.0]


def test_asks_for_noise() -> None:
    for call in (GridWorld().take, GridWorld().step):
        with pytest.raises(ValueError, match="give `uniform`"):
            call(torch.eye(16), torch.zeros(16, 4 if call.__name__ == "step" else 1, dtype=torch.int64))


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("5x5", "'5x5' is not known: give 4x4 or 8x8"),
        ([], "of one length"),
        (["SG", "F"], "of one length"),
        (["SXG"], "got X"),
        (["FG"], "no start: put S"),
        (["SF"], "no goal: put G"),
    ],
)
def test_refuses(layout: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GridWorld(layout)
