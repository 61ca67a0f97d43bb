"""The bonus of seldom visited pairs against a table of counts."""

import math

import pytest
import torch

from discrete_lightning.control.bonuses import CountBonus
from discrete_lightning.control.rollout import Rollout


def _rollout(states: torch.Tensor, actions: torch.Tensor, counted: torch.Tensor) -> Rollout:
    none, no = torch.zeros(0), torch.zeros_like(counted)
    one_hot = torch.nn.functional.one_hot(states, 4).float()
    return Rollout(
        one_hot, actions.unsqueeze(-1), torch.zeros(states.shape), no, no, counted, none, none, None, None, none
    )


def test_it_falls_with_the_root_of_the_visits() -> None:
    bonus, generator = CountBonus(0.5), torch.Generator().manual_seed(0)
    bonus.check(4, [2])
    visits = torch.zeros(4, 2, dtype=torch.int64)
    for _ in range(4):
        states, actions = (torch.randint(k, (5, 3), generator=generator) for k in (4, 2))
        counted = torch.rand(5, 3, generator=generator) < 0.8
        found = bonus(_rollout(states, actions, counted))
        for s, a, keep in zip(states.flatten(), actions.flatten(), counted.flatten(), strict=True):
            visits[s, a] += int(keep)
        for t in range(5):
            for i in range(3):
                expected = 0.5 / math.sqrt(visits[states[t, i], actions[t, i]]) if counted[t, i] else 0.0
                assert found[t, i].item() == pytest.approx(expected)
    assert torch.equal(bonus.visits, visits.float())


def test_a_new_one_takes_the_counts_of_a_saved_one() -> None:
    bonus = CountBonus()
    bonus.check(4, [2])
    states = torch.zeros(1, 3, dtype=torch.int64)
    bonus(_rollout(states, states, states == 0))
    other = CountBonus()
    other.load_state_dict(bonus.state_dict())
    other.check(4, [2])
    assert other.visits[0, 0] == 3


@pytest.mark.parametrize(("states", "actions"), [(None, [2]), (4, [2, 2])])
def test_what_it_cannot_count_is_refused(states: int | None, actions: list[int]) -> None:
    with pytest.raises(ValueError, match="finitely many states with one action"):
        CountBonus().check(states, actions)
    with pytest.raises(ValueError, match="weight must be positive"):
        CountBonus(0.0)
