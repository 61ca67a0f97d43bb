"""Observations and actions of every kind of space."""

import importlib.util
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from discrete_lightning.control.vector.environment_list import EnvironmentList
from discrete_lightning.control.vector.gymnasium_maker import GymnasiumMaker
from discrete_lightning.control.vector.gymnasium_processes import GymnasiumProcesses
from discrete_lightning.control.vector.gymnasium_vector import GymnasiumVector
from discrete_lightning.control.vector.spaces import ActionForm, ObservationForm
from tests.control.vector.tiny import Walk


class Any_(gymnasium.Env[Any, Any]):
    """Observations are samples; the last action is kept; ends after 3 steps.

    Args:
        observations: the space.
        actions: the space.
        mask: in every info, or None.
    """

    def __init__(self, observations: Any, actions: Any, mask: Any = None) -> None:
        self.observation_space, self.action_space, self.mask, self.taken = observations, actions, mask, None
        self.t = 0

    def info(self) -> dict[str, Any]:
        return {} if self.mask is None else {"action_mask": self.mask}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.observation_space.seed(seed) if seed is not None else None
        self.t = 0
        return self.observation_space.sample(), self.info()

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), (action, self.action_space)
        self.taken, self.t = action, self.t + 1
        return self.observation_space.sample(), 1.0, False, self.t == 3, self.info()


BOX = spaces.Box(-1, 1, (3, 2), np.float64)
OBSERVATIONS = [
    (BOX, (3, 2), None),
    (spaces.Box(0, 255, (4, 4, 3), np.uint8), (4, 4, 3), None),
    (spaces.Box(-5, 5, (), np.int32), (), None),
    (spaces.Discrete(5, start=-2), (5,), 5),
    (spaces.MultiDiscrete([2, 3]), (5,), None),
    (spaces.MultiBinary(4), (4,), None),
    (spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(-1, 1, (2,))}), (5,), None),
    (spaces.Tuple((spaces.Discrete(3), spaces.Box(-1, 1, (2,)))), (5,), None),
]


@pytest.mark.parametrize(("space", "shape", "states"), OBSERVATIONS, ids=[str(each[0]) for each in OBSERVATIONS])
def test_observations(space: Any, shape: tuple[int, ...], states: int | None) -> None:
    space.seed(0)
    form = ObservationForm(space)
    assert (form.shape, form.states) == (shape, states)
    samples = [space.sample() for _ in range(4)]
    rows = np.stack([form.row(each) for each in samples])
    assert rows.dtype == np.float32
    for sample, row in zip(samples, rows, strict=True):
        expected = sample if isinstance(space, spaces.Box) else spaces.flatten(space, sample)
        np.testing.assert_array_equal(row, np.asarray(expected, np.float32))
    discrete = spaces.Discrete(2)
    listed = EnvironmentList([Any_(space, discrete) for _ in range(3)])
    first = listed.reset(seed=1).observations
    assert first.shape == (3, *shape)
    assert first.dtype == torch.float32
    actions = torch.zeros(3, 1, dtype=torch.long)
    steps = [listed.step(actions) for _ in range(4)]
    for mode in AutoresetMode:
        vector = GymnasiumVector(SyncVectorEnv([lambda: Any_(space, discrete)] * 3, autoreset_mode=mode))
        # one space object, whose samples come from one stream: only what was seeded last is the same
        assert vector.reset(seed=1).observations.shape == first.shape
        for expected_step in steps:
            step = vector.step(actions)
            assert step.next.observations.shape == expected_step.next.observations.shape
            assert step.final.dtype == torch.float32


def test_one_hot_states_are_those_of_the_environment() -> None:
    maker = GymnasiumMaker("FrozenLake-v1", {"is_slippery": False})
    listed = EnvironmentList([maker()])
    assert listed.reset(seed=0).observations.argmax() == 0
    for action, state in ((2, 1), (2, 2), (1, 6)):
        assert listed.step(torch.tensor([[action]])).next.observations.argmax() == state
    listed.close()


@pytest.mark.parametrize("space", [spaces.Sequence(spaces.Discrete(2)), spaces.Graph(spaces.Discrete(2), None)])
def test_observations_without_a_size_are_refused(space: Any) -> None:
    with pytest.raises(ValueError, match="fixed size"):
        EnvironmentList([Any_(space, spaces.Discrete(2))])


ACTIONS = [
    (spaces.Discrete(3), (3,), [2], 2),
    (spaces.Discrete(3, start=-4), (3,), [2], -2),
    (spaces.MultiDiscrete([2, 3]), (2, 3), [1, 2], [1, 2]),
    (spaces.MultiDiscrete([[2, 3], [4, 2]]), (2, 3, 4, 2), [1, 2, 3, 0], [[1, 2], [3, 0]]),
    (spaces.MultiDiscrete([2, 3], start=[5, -1]), (2, 3), [1, 2], [6, 1]),
    (spaces.MultiBinary(3), (2, 2, 2), [1, 0, 1], [1, 0, 1]),
    (spaces.MultiBinary((1, 2)), (2, 2), [1, 0], [[1, 0]]),
]


@pytest.mark.parametrize(("space", "sizes", "given", "native"), ACTIONS, ids=[str(each[0]) for each in ACTIONS])
def test_actions(space: Any, sizes: tuple[int, ...], given: list[int], native: Any) -> None:
    environments = [Any_(BOX, space) for _ in range(2)]
    listed = EnvironmentList(environments)
    assert listed.actions == sizes
    listed.reset(seed=0)
    listed.step(torch.tensor([given, [0] * len(sizes)]))
    np.testing.assert_array_equal(environments[0].taken, native)
    vector = SyncVectorEnv([lambda: Any_(BOX, space)] * 2)
    adapted = GymnasiumVector(vector)
    adapted.reset(seed=0)
    adapted.step(torch.tensor([given, [0] * len(sizes)]))
    np.testing.assert_array_equal(vector.envs[0].taken, native)
    assert vector.envs[0].taken != environments[1].taken if np.ndim(native) == 0 else True


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (2,)), spaces.Dict({"a": spaces.Discrete(2)})])
def test_other_actions_are_refused_in_one_line(space: Any) -> None:
    with pytest.raises(ValueError, match=r"^Any_: action space .*: expected discrete actions \(Discrete") as caught:
        EnvironmentList([Any_(BOX, space)])
    assert "\n" not in str(caught.value)


def test_a_component_out_of_range_is_named() -> None:
    form = ActionForm(spaces.MultiDiscrete([2, 3]))
    assert form.out_of_range(np.array([[1, 2], [0, 0]])) is None
    assert form.out_of_range(np.array([[1, 2], [0, 3]])) == (1, "3 of component 1 is out of range, expected 0 to 2")
    assert form.out_of_range(np.array([[-1, 2]])) == (0, "-1 of component 0 is out of range, expected 0 to 1")


@pytest.mark.parametrize(
    "mask",
    [
        (np.array([0, 1], np.int8), np.array([1, 1, 0], np.int8)),
        np.array([0, 1, 1, 1, 0]),
        [0, 1, 1, 1, 0],
        [[0, 1], [1, 1, 0]],
    ],
)
def test_masks_of_several_components(mask: Any) -> None:
    space = spaces.MultiDiscrete([2, 3])
    legal = torch.tensor([[False, True, True, True, False]] * 2)
    listed = EnvironmentList([Any_(BOX, space, mask) for _ in range(2)])
    found = listed.reset(seed=0).legal
    assert found is not None
    assert torch.equal(found, legal)
    vector = GymnasiumVector(SyncVectorEnv([lambda: Any_(BOX, space, mask)] * 2))
    vector.reset(seed=0)
    found = vector.step(torch.zeros(2, 2, dtype=torch.long)).next.legal
    assert found is not None
    assert torch.equal(found, legal)


def test_taxi_says_which_actions_are_legal() -> None:
    maker = GymnasiumMaker("Taxi-v4")
    listed, processes = EnvironmentList([maker() for _ in range(3)]), GymnasiumProcesses(maker, 3)
    observed, same = listed.reset(seed=5), processes.reset(seed=5)
    for _ in range(5):
        assert observed.legal is not None
        assert same.legal is not None
        assert torch.equal(observed.legal, same.legal)
        assert not observed.legal.all()
        for i, each in enumerate(listed.environments):
            state = int(observed.observations[i].argmax())
            assert observed.legal[i].tolist() == each.unwrapped.action_mask(state).astype(bool).tolist()
        actions = observed.legal.int().argmax(1, keepdim=True)
        observed, same = listed.step(actions).next, processes.step(actions).next
    assert EnvironmentList([maker()], masks=False).reset(seed=0).legal is None
    listed.close()
    processes.close()


def test_time_limits() -> None:
    class Own(Walk):
        time_limit = 4

    assert EnvironmentList([Own()]).time_limit == 4
    assert EnvironmentList([gymnasium.wrappers.TimeLimit(Walk(), 3)]).time_limit == 3
    assert EnvironmentList([Walk()]).time_limit is None


@pytest.mark.skipif(importlib.util.find_spec("Box2D") is None, reason="Box2D is not installed")
def test_an_environment_of_box2d_is_made_under_warnings_as_errors() -> None:
    code = "from discrete_lightning.control.vector.gymnasium_maker import GymnasiumMaker as M; M('LunarLander-v3')()"
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning", "-c", code], check=True)
