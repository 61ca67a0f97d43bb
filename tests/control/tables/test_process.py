"""TabularProcess: what is read from gymnasium is what gymnasium does; what is refused."""

from typing import Any

import gymnasium
import pytest
import torch

from discrete_lightning.control.tables.process import TOY_TEXT, TabularProcess, toy_text


@pytest.mark.parametrize("name", TOY_TEXT)
def test_tables_are_those_of_the_environment(name: str) -> None:
    process, env = toy_text(name), gymnasium.make(name)
    table = env.unwrapped.P  # type: ignore[attr-defined]
    for state, row in table.items():
        for action, outcomes in row.items():
            goes_on = torch.zeros(process.states, dtype=torch.float64)
            for p, following, _, ended in outcomes:
                goes_on[int(following)] += 0.0 if ended else p
            assert torch.allclose(process.transitions[state, action], goes_on, atol=1e-15)
            reward = sum(p * r for p, _, r, _ in outcomes)
            assert process.rewards[state, action].item() == pytest.approx(reward, abs=1e-15)
    assert process.transitions.dtype == process.rewards.dtype == process.start.dtype == torch.float64
    env.close()


@pytest.mark.parametrize(("name", "decisions"), [("FrozenLake-v1", 11), ("CliffWalking-v1", 37), ("Taxi-v4", 400)])
def test_decisions_are_states_that_can_be_reached(name: str, decisions: int) -> None:
    assert int(toy_text(name).decisions.sum()) == decisions


def test_an_episode_of_gymnasium_follows_the_tables() -> None:
    process, env = toy_text("FrozenLake-v1"), gymnasium.make("FrozenLake-v1")
    env.action_space.seed(0)
    for seed in range(20):
        state, _ = env.reset(seed=seed)
        assert process.start[state] > 0
        over = False
        while not over:
            action = env.action_space.sample()
            following, reward, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            if terminated:
                assert process.transitions[state, action].sum() < 1
            else:
                assert process.transitions[state, action, following] > 0
            assert not reward or process.rewards[state, action] > 0
            state = following
    env.close()


def test_what_has_no_tables_is_refused() -> None:
    env = gymnasium.make("CartPole-v1")
    with pytest.raises(ValueError, match="CartPoleEnv holds no tables"):
        TabularProcess.from_gymnasium(env)
    env.close()
    with pytest.raises(ValueError, match="'FrozenLik-v1' cannot be made"):
        toy_text("FrozenLik-v1")
    with pytest.raises(ValueError, match="'this:That-v0' names a module"):
        toy_text("this:That-v0")
    fickle = gymnasium.make("Taxi-v4", fickle_passenger=True)
    with pytest.raises(ValueError, match="fickle"):
        TabularProcess.from_gymnasium(fickle)
    fickle.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transitions": torch.full((2, 3, 2), 0.6)}, "sum to at most 1"),
        ({"transitions": torch.full((2, 3, 2), -0.1)}, "sum to at most 1"),
        ({"transitions": torch.zeros(2, 2, 2)}, "needs tables"),
        ({"rewards": torch.zeros(3)}, "needs tables"),
        ({"rewards": torch.full((2, 3), torch.nan)}, "rewards .* not finite"),
        ({"start": torch.tensor([0.5, 0.4])}, "it sums to 0.9"),
    ],
)
def test_tables_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    tables = {"transitions": torch.zeros(2, 3, 2), "rewards": torch.zeros(2, 3), "start": torch.tensor([0.5, 0.5])}
    with pytest.raises(ValueError, match=message):
        TabularProcess(**(tables | change))
