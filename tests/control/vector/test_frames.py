"""Pictures: of known environments without pygame, of others as they render, else of the observation."""

import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from discrete_lightning.control.vector.base import EnvironmentFault
from discrete_lightning.control.vector.environment_list import EnvironmentList
from discrete_lightning.control.vector.gymnasium_maker import GymnasiumMaker
from discrete_lightning.control.vector.gymnasium_processes import GymnasiumProcesses
from discrete_lightning.control.vector.gymnasium_vector import GymnasiumVector
from tests.control.vector.test_spaces import Any_
from tests.control.vector.tiny import Walk


def frame(environments: Any) -> Any:
    environments.reset(seed=0)
    picture = environments.frame(0)
    environments.close()
    assert picture.mode == "RGB"
    pixels = np.asarray(picture)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1  # something is drawn
    return picture


@pytest.fixture
def _without_pygame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)


@pytest.mark.usefixtures("_without_pygame")
@pytest.mark.parametrize(
    "name", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "FrozenLake-v1", "Taxi-v4", "CliffWalking-v1"]
)
def test_known_environments_need_no_pygame(name: str) -> None:
    frame(EnvironmentList([GymnasiumMaker(name)()]))


def test_the_picture_moves_with_the_environment() -> None:
    listed = EnvironmentList([GymnasiumMaker("MountainCar-v0")() for _ in range(2)])
    listed.reset(seed=0)
    assert listed.frame(0).tobytes() != listed.frame(1).tobytes()
    listed.close()


def test_others_draw_themselves_or_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    assert frame(EnvironmentList([GymnasiumMaker("Blackjack-v1")()])).size[0] > 100
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(EnvironmentFault, match=r"Blackjack-v1 cannot be drawn: .*pip install 'gymnasium\[toy-text\]'"):
        frame(EnvironmentList([GymnasiumMaker("Blackjack-v1")()]))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(EnvironmentFault, match=r"CartPole-v1 cannot be drawn: .*pip install 'discrete_lightning\[con"):
        frame(EnvironmentList([GymnasiumMaker("CartPole-v1")()]))


def test_text_and_observations_are_drawn() -> None:
    path = GymnasiumMaker("tests.control.vector.tiny:Walk")
    assert path().render_mode == "ansi"
    frame(EnvironmentList([path()]))
    frame(GymnasiumVector(SyncVectorEnv([path])))
    frame(GymnasiumProcesses(path, 1))
    assert frame(EnvironmentList([Walk()])).size == (300, 200)
    for space in (spaces.Box(0, 255, (8, 9, 3), np.uint8), spaces.Box(0, 1, (8, 9)), spaces.Box(0, 1, (2, 3, 4, 5))):
        frame(EnvironmentList([Any_(space, spaces.Discrete(2))]))
    frame(GymnasiumVector(gymnasium.make_vec("CartPole-v1", num_envs=2)))
