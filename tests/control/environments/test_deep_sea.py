"""DeepSea against bsuite's rules, written out."""

import itertools

import pytest
import torch

from discrete_lightning.control.environments import DeepSea


def naive_return(size: int, cost: float, moves: tuple[int, ...]) -> float:
    """bsuite's step, with action 1 always to the right."""
    column, total = 0, 0.0
    for right in moves:
        if right:
            total += (column == size - 1) - cost / size
            column = min(column + 1, size - 1)
        else:
            column = max(column - 1, 0)
    return total


def test_every_episode() -> None:
    env = DeepSea(size=4, cost=0.02)
    episodes = list(itertools.product((0, 1), repeat=4))
    state = env.start(torch.zeros(len(episodes), 1, dtype=torch.float64))
    returns = torch.zeros(len(episodes), dtype=torch.float64)
    for row in range(4):
        action = torch.tensor([[moves[row]] for moves in episodes])
        assert env.observe(state).argmax(1).div(4, rounding_mode="floor").eq(row).all()
        state, reward, cost, ended = env.take(state, action)
        returns += reward
        torch.testing.assert_close(cost, -reward, rtol=0, atol=0)
        assert ended.eq(row == 3).all()
    expected = [naive_return(4, 0.02, moves) for moves in episodes]
    torch.testing.assert_close(returns, torch.tensor(expected, dtype=torch.float64))
    assert returns.argmax() == len(episodes) - 1
    assert returns.max().item() == pytest.approx(env.treasure_return)


def test_time_limit_cuts_no_episode_short() -> None:
    assert DeepSea(size=7).time_limit == 7


@pytest.mark.parametrize("arguments", [{"size": 0}, {"cost": -0.1}, {"cost": float("nan")}])
def test_refuses(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="size must be at least 1 and cost at least 0"):
        DeepSea(**arguments)
