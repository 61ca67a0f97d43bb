"""The same policy and seeds give the same transitions, whatever follows the end of an episode."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from discrete_lightning.control.vector.base import VectorEnvironments
from discrete_lightning.control.vector.environment_list import EnvironmentList
from discrete_lightning.control.vector.gymnasium_maker import GymnasiumMaker
from discrete_lightning.control.vector.gymnasium_processes import GymnasiumProcesses
from discrete_lightning.control.vector.gymnasium_vector import GymnasiumVector
from tests.control.vector.tiny import Masked, Reusing, Walk

COUNT = 5
Row = tuple[Any, ...]


def sync(make: Callable[[], Any], mode: AutoresetMode) -> GymnasiumVector:
    return GymnasiumVector(SyncVectorEnv([make] * COUNT, autoreset_mode=mode, copy=False))


def policy(observations: torch.Tensor, legal: torch.Tensor | None) -> torch.Tensor:
    """Some function of the observation: most often 1."""
    wanted = ((observations[:, 0] * 3 + observations[:, 1]) % 4 != 1).long()
    return (wanted if legal is None else wanted * legal[:, 1])[:, None]


def by_hand(make: Callable[[], Any], steps: int) -> list[list[Row]]:
    """Transitions of each environment: (s, a, r, terminated, truncated, s')."""
    found: list[list[Row]] = []
    for i in range(COUNT):
        env, rows = make(), []
        seen, info = env.reset(seed=7 + i)
        for _ in range(steps):
            before = tuple(seen.tolist())
            mask = info.get("action_mask")
            legal = None if mask is None else torch.tensor(mask)[None].bool()
            action = int(policy(torch.tensor(seen)[None], legal))
            seen, reward, terminated, truncated, info = env.step(action)
            rows.append((before, action, reward, terminated, truncated, tuple(seen.tolist())))
            if terminated or truncated:
                seen, info = env.reset()
        found.append(rows)
    return found


def by(environments: VectorEnvironments, steps: int) -> list[list[Row]]:
    """The same from steps of all environments, of those steps that count."""
    found: list[list[Row]] = [[] for _ in range(environments.count)]
    now = environments.reset(seed=7)
    while min(map(len, found)) < steps:
        actions = policy(now.observations, now.legal)
        step = environments.step(actions)
        for i in range(environments.count):
            if step.counted[i]:
                values = (step.rewards[i], step.terminated[i], step.truncated[i])
                row = (tuple(now.observations[i].tolist()), int(actions[i]), *(each.item() for each in values))
                found[i].append((*row, tuple(step.final[i].tolist())))
            else:
                assert not step.terminated[i]
                assert not step.truncated[i]
                assert step.rewards[i] == 0
        now = step.next
    environments.close()
    return [rows[:steps] for rows in found]


@pytest.mark.parametrize("make", [Walk, Masked])
def test_transitions_are_those_of_each_environment_alone_in_every_mode(make: Callable[[], Any]) -> None:
    truth = by_hand(make, 40)
    flat = [row for rows in truth for row in rows]
    assert any(row[3] for row in flat)  # ends of both kinds are among them
    assert any(row[4] and not row[3] for row in flat)
    assert by(EnvironmentList([make() for _ in range(COUNT)]), 40) == truth
    for mode in AutoresetMode:
        assert by(sync(make, mode), 40) == truth, mode


def test_a_list_and_processes_copy_the_array_of_an_environment_that_has_one() -> None:
    truth = by_hand(Walk, 12)
    assert by(EnvironmentList([Reusing() for _ in range(COUNT)]), 12) == truth
    path = "tests.control.vector.tiny:Reusing"
    assert by(GymnasiumProcesses(GymnasiumMaker(path), COUNT), 12) == truth
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
        assert by(GymnasiumVector(AsyncVectorEnv([Walk] * COUNT, autoreset_mode=mode)), 12) == truth, mode


def test_what_is_acted_on_after_an_end_is_the_first_observation_of_another_episode() -> None:
    for environments in (EnvironmentList([Walk()] * 1), sync(Walk, AutoresetMode.SAME_STEP)):
        environments.reset(seed=0)
        for _ in range(4):
            step = environments.step(torch.zeros(environments.count, 1, dtype=torch.long))
        assert step.truncated.all()
        assert not step.terminated.any()
        assert (step.final[:, 1] == 4).all()
        assert (step.next.observations[:, 1] == 0).all()


def test_one_value_target_for_every_mode() -> None:
    """r + gamma V(s') (1 - terminated), with V(s') of the final observation where a time limit cut the episode off."""

    def targets(rows: list[list[Row]]) -> list[list[float]]:
        return [[row[2] + 0.9 * (row[5][0] + 7 * row[5][1]) * (1 - row[3]) for row in each] for each in rows]

    truth = targets(by_hand(Walk, 20))
    for mode in AutoresetMode:
        assert targets(by(sync(Walk, mode), 20)) == truth
    wrong = [[(*row[:3], row[3] or row[4], *row[4:]) for row in each] for each in by_hand(Walk, 20)]
    assert targets(wrong) != truth


def test_cartpole_with_arrays_has_rows_that_do_not_count() -> None:
    environments = GymnasiumVector(gymnasium.make_vec("CartPole-v1", num_envs=3))
    assert environments.mode == "NEXT_STEP"
    assert environments.time_limit == 500
    environments.reset(seed=0)
    ended = torch.zeros(3, dtype=torch.bool)
    for _ in range(60):
        step = environments.step(torch.ones(3, 1, dtype=torch.long))
        assert torch.equal(step.counted, ~ended)
        assert (step.rewards == step.counted).all()
        ended = step.terminated | step.truncated
    environments.close()


def test_an_unknown_mode_is_refused() -> None:
    vector = SyncVectorEnv([Walk])
    for mode in (None, "sometimes"):
        vector.metadata = {"autoreset_mode": mode}
        with pytest.raises(ValueError, match=f"Walk.*autoreset_mode {mode!r}"):
            GymnasiumVector(vector, name="Walk")
    vector.metadata = {"autoreset_mode": "SameStep"}  # the value of the enumeration
    assert GymnasiumVector(vector).mode == "SAME_STEP"


def test_environments_that_stand_still_are_not_called() -> None:
    environments = EnvironmentList([Walk() for _ in range(3)])
    environments.reset(seed=0)
    active = torch.tensor([True, False, True])
    before = [each.t for each in environments.environments]
    step = environments.step(torch.tensor([[1], [9], [1]]), active)
    assert [each.t for each in environments.environments] == [before[0] + 1, before[1], before[2] + 1]
    assert step.rewards[1] == 0
    assert not step.terminated[1]
    vector = sync(Walk, AutoresetMode.SAME_STEP)
    vector.reset(seed=0)
    vector.step(torch.full((COUNT, 1), 9), torch.zeros(COUNT, dtype=torch.bool))


def test_seeds_go_by_the_number_among_all_processes() -> None:
    whole = EnvironmentList([Walk() for _ in range(6)]).reset(seed=3).observations
    part = EnvironmentList([Walk() for _ in range(2)], first=4, total=6).reset(seed=3).observations
    assert torch.equal(whole[4:], part)
    assert len(np.unique(whole[:, 0])) > 1
    vector = GymnasiumVector(SyncVectorEnv([Walk] * 2), first=4, total=6)
    assert torch.equal(vector.reset(seed=3).observations, part)
