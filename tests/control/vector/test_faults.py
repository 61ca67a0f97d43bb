"""An environment that dies or misbehaves gets one line with its index."""

import re
from typing import Any

import gymnasium
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from discrete_lightning.control.vector.base import EnvironmentFault, VectorEnvironments
from discrete_lightning.control.vector.environment_list import EnvironmentList
from discrete_lightning.control.vector.gymnasium_maker import GymnasiumMaker
from discrete_lightning.control.vector.gymnasium_processes import GymnasiumProcesses
from discrete_lightning.control.vector.gymnasium_vector import GymnasiumVector
from tests.control.vector.tiny import Broken, Endless, Masked, Walk

_THIRD = {
    "raise": r"step\(\) at step 3 of its episode: RuntimeError: the ball is lost \(tiny.py, line \d+\)$",
    "nan reward": "reward at step 3 of its episode: nan, expected a finite number$",
    "no reward": "reward at step 3 of its episode: None, expected a number$",
    "old": r"step\(\) at step 3 of its episode: it returned a tuple of 4, expected .* the API of the old gym",
    "flags": r"step\(\) at step 3 of its episode: it returned values of the types ndarray, float, dict, bool, dict",
    "shape": r"observation at step 3 of its episode: of shape \(3,\), expected \(2,\)$",
    "type": "observation at step 3 of its episode: of type <U1, expected float32$",
    "none": "observation at step 3 of its episode: None$",
    "nan": "observation at step 3 of its episode: .*NaN or infinite$",
    "large": "observation at step 3 of its episode: .*NaN or infinite$",
}


def run(environments: VectorEnvironments, action: int = 0, steps: int = 3) -> str:
    """The message, which is one line."""

    def go() -> None:
        environments.reset(seed=0)
        for _ in range(steps):
            environments.step(torch.full((environments.count, 1), action))

    with pytest.raises(EnvironmentFault) as caught:
        go()
    environments.close()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("how", list(_THIRD))
def test_each_broken_promise_has_a_line(how: str) -> None:
    message = run(EnvironmentList([Walk(), Walk(), Broken(how)], first=3, total=9))
    head = r"^environment 5 of 9 \(Walk, counted from 0\): "
    assert re.search(head + _THIRD[how], message), message


def test_resets() -> None:
    message = run(EnvironmentList([Broken("reset")], name="X"))
    assert re.search(r"^environment 0 of 1 .*: reset\(\) at the start of an episode: RuntimeError: no ball", message)
    message = run(EnvironmentList([Broken("bare reset")]))
    assert re.search(r"reset\(\) .*: it returned array.* expected the pair", message)


def test_actions_out_of_range() -> None:
    for environments in (EnvironmentList([Walk(), Walk()]), GymnasiumVector(SyncVectorEnv([Walk, Walk]))):
        environments.reset(seed=0)
        with pytest.raises(
            EnvironmentFault, match=r"environment 1 of 2 .*action at step 1 .*: 2 is out of range, .*0 to 1"
        ):
            environments.step(torch.tensor([[0], [2]]))
        with pytest.raises(ValueError, match=r"actions: expected int64 \(2, 1\)"):
            environments.step(torch.zeros(2, dtype=torch.long))


def test_masks() -> None:
    class Forgets(Masked):
        def info(self) -> dict[str, Any]:
            return super().info() if self.t == 0 else {}

    class Short(Masked):
        def info(self) -> dict[str, Any]:
            return {"action_mask": super().info()["action_mask"][:1]}

    class Shut(Masked):
        def info(self) -> dict[str, Any]:
            return {"action_mask": super().info()["action_mask"] * (self.t == 0)}

    for make, words in (
        (Forgets, "missing.* masks=False"),
        (Short, "of 1 entries, expected 2"),
        (Shut, "no action is"),
    ):
        assert re.search(rf"environment 0 of 1 .*action_mask'\] at .*{words}", run(EnvironmentList([make()])))
    assert EnvironmentList([Shut()], masks=False).reset(seed=0).legal is None
    assert "missing" in run(GymnasiumVector(SyncVectorEnv([Forgets])))


def test_vectors_of_the_user_s_own() -> None:
    class Wrong(SyncVectorEnv):
        def __init__(self, change: Any) -> None:
            super().__init__([Walk, Walk])
            self.change = change

        def step(self, actions: Any) -> Any:
            return self.change(*super().step(actions))

    def nan(o: Any, r: Any, *rest: Any) -> Any:
        r[1] = float("nan")
        return o, r, *rest

    assert "environment 1 of 2" in run(GymnasiumVector(Wrong(nan)))
    assert "rewards of step()" in run(GymnasiumVector(Wrong(lambda o, r, *rest: (o, r[:1], *rest))))
    assert "terminations of step()" in run(GymnasiumVector(Wrong(lambda o, r, t, *rest: (o, r, t * 1.0, *rest))))
    assert "expected (observations" in run(GymnasiumVector(Wrong(lambda *all: all[:4])))
    assert "of shape (1, 2)" in run(GymnasiumVector(Wrong(lambda o, *rest: (o[:1], *rest))))
    assert "the ball is lost" in run(GymnasiumVector(SyncVectorEnv([Walk, Broken])))
    late = GymnasiumVector(SyncVectorEnv([Endless, Endless]), time_limit=6)
    assert "goes on after the time limit of 6" in run(late, steps=6)
    same = Wrong(lambda o, r, t, u, infos: (o, r, t, u, {}))
    same.metadata["autoreset_mode"] = gymnasium.vector.AutoresetMode.SAME_STEP
    assert "environment 0 of 2" in (message := run(GymnasiumVector(same), steps=4))
    assert "final_obs" in message


@pytest.mark.parametrize("how", ["raise", "nan reward", "shape", "nan", "reset"])
def test_processes_report_as_a_list_does(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    def made() -> GymnasiumMaker:
        return GymnasiumMaker("tests.control.vector.tiny:Broken", {"how": how, "only": True})

    listed = run(EnvironmentList([made()() for _ in range(4)], name="B"))
    processes = GymnasiumProcesses(made(), 4)
    workers = processes.vector.processes
    processes.name = "B"
    assert run(processes) == listed
    assert not any(each.is_alive() for each in workers)
    assert capfd.readouterr() == ("", "")


def test_a_killed_process_has_a_line_and_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    maker = GymnasiumMaker("tests.control.vector.tiny:Broken", {"how": "kill", "only": True})
    processes = GymnasiumProcesses(maker, 4, first=4, total=8)
    workers = processes.vector.processes
    starts = [maker().reset(seed=4 + i)[0][0] for i in range(4)]
    message = run(processes)
    assert re.search(rf"^environment {4 + starts.index(2)} of 8 .*step\(\) at step 3 .*killed by signal 9$", message)
    assert not any(each.is_alive() for each in workers)
    assert capfd.readouterr() == ("", "")


def test_spaces_that_differ() -> None:
    other = Walk()
    other.action_space = gymnasium.spaces.Discrete(3)
    with pytest.raises(ValueError, match="Walk: environment 1 has other spaces"):
        EnvironmentList([Walk(), other])
    with pytest.raises(ValueError, match="expected one or more"):
        EnvironmentList([])
