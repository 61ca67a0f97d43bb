"""Tables that do not fit together are refused, and environments can be made again from their record."""

from typing import Any

import pytest
import torch

from discrete_lightning.control.environments import Acrobot, CartPole, DeepSea, FiniteEnv, GridWorld, MountainCar
from discrete_lightning.layers.recorded import made, recorded

GOOD: dict[str, Any] = {
    "targets": [[0, 1], [1, 1]],
    "rewards": [[0.0, 1.0], [0.0, 0.0]],
    "terminal": [False, True],
    "first": [1.0, 0.0],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": []}, "needs a state and a move"),
        ({"targets": [[0, 1], [1]]}, "targets must be 2 rows of 2 moves"),
        ({"rewards": [[0.0, 1.0]]}, "rewards must be 2 rows of 2 moves"),
        ({"terminal": [True]}, "terminal must hold one value for each of 2 states, got 1"),
        ({"first": [0.5, 0.4]}, "probabilities of first"),
        ({"first": [1.5, -0.5]}, "probabilities of first"),
        ({"targets": [[0, 2], [1, 1]]}, "state 0 lead to .*: states are 0 to 1"),
        ({"rewards": [[0.0, 1.0], [0.0, 1.0]]}, "state 1 ends episodes"),
        ({"slips": [(0.5, 0), (0.4, 1)]}, "probabilities of slips"),
        ({"slips": [(1.0, 1)]}, "single slip must have k = 0"),
        ({"time_limit": 0}, "time_limit"),
    ],
)
def test_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FiniteEnv(**{**GOOD, **change})


@pytest.mark.parametrize(
    "env", [FiniteEnv(**GOOD), GridWorld(["SG"], slippery=False), DeepSea(4), CartPole(3), Acrobot(), MountainCar()]
)
def test_can_be_made_again(env: Any) -> None:
    again = made(recorded(env))
    assert type(again) is type(env)
    assert vars(again).keys() == vars(env).keys()
    assert (again.time_limit, again.state_size, again.actions) == (env.time_limit, env.state_size, env.actions)
    noise = torch.rand(5, env.start_noise, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.start(noise), env.start(noise))
