"""gymnasium environments go on from a checkpoint to the bit, by a replay of their episodes; or it is said why they do not."""

import io
import random
from typing import Any

import numpy as np
import pytest
import torch

from discrete_lightning.control.training.environments import Environments
from discrete_lightning.control.vector.base import EnvironmentFault, Observed, Step, VectorEnvironments

COUNT = 3
TINY = "tests.control.vector.tiny"
KNOWN = {
    "CartPole-v1": {},
    "FrozenLake-v1": {},
    "Taxi-v4": {},
    "Blackjack-v1": {"time_limit": 9},
    "tests.control.training.tiny_spaces:TwoAtOnce": {"time_limit": 7},
}  # fmt: skip
STRANGE = {
    "Private": "from the same start it goes two ways",
    "Unseeded": "from the same start it goes two ways",
    "Global": "it draws from a global generator",
    "Harder": "its `Harder.episodes` is not what it was: it has randomness or state of its own",
    "Old": "its `np_random` is no generator of gymnasium's kind",
}


def walked(environments: VectorEnvironments, now: Observed, steps: int, noise: torch.Generator) -> list[Step]:
    """Steps by random legal actions."""
    found: list[Step] = []
    for _ in range(steps):
        weights = torch.rand(environments.count, sum(environments.actions), generator=noise)
        if now.legal is not None:
            weights = weights * now.legal
        actions = torch.stack([each.argmax(1) for each in weights.split(list(environments.actions), 1)], 1)
        found.append(environments.step(actions))
        now = found[-1].next
    return found


def filed(state: dict[str, Any]) -> dict[str, Any]:
    """The state as a checkpoint gives it back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    found: dict[str, Any] = torch.load(file, weights_only=True)
    return found


def made(name: str, processes: bool, **options: Any) -> VectorEnvironments:
    return Environments(name, processes=processes, **options).make(COUNT)


@pytest.mark.parametrize(("steps", "processes"), [(0, False), (2, False), (47, False), (47, True)])
@pytest.mark.parametrize("name", list(KNOWN))
def test_environments_go_on_to_the_bit(name: str, steps: int, processes: bool) -> None:
    uncut, resumed = (made(name, processes, **KNOWN[name]) for _ in range(2))
    noise = torch.Generator().manual_seed(0)
    now = uncut.reset(3)
    if steps:
        now = walked(uncut, now, steps, noise)[-1].next
    state = filed(uncut.state_dict())
    for _ in range(2):  # a run may be cut twice
        again = noise.clone_state()
        there = resumed.load_state_dict(state)
        assert torch.equal(now.observations, there.observations)
        assert (now.legal is None) == (there.legal is None)
        ours, theirs = walked(resumed, there, 45, again), walked(uncut, now, 45, noise)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one._asdict(), other._asdict(), rtol=0, atol=0)
        now, state = theirs[-1].next, filed(resumed.state_dict())
    uncut.close()
    resumed.close()


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.parametrize("name", list(STRANGE))
def test_what_cannot_be_replayed_is_said_and_can_be_reset(name: str, processes: bool) -> None:
    uncut, resumed = (made(f"{TINY}:{name}", processes, time_limit=5) for _ in range(2))
    walked(uncut, uncut.reset(3), 22, torch.Generator().manual_seed(0))
    with pytest.raises(EnvironmentFault, match=f"environment 0 of 3, counted from 0: replay: {STRANGE[name]}"):
        resumed.load_state_dict(filed(uncut.state_dict()))
    assert torch.equal(resumed.reset(3).observations, uncut.reset(3).observations)
    uncut.close()
    resumed.close()


def test_a_generator_that_reset_seeds_goes_on_in_the_first_episodes() -> None:
    uncut, resumed = (made(f"{TINY}:Private", False, time_limit=5) for _ in range(2))
    noise = torch.Generator().manual_seed(0)
    now = uncut.reset(3)
    state = filed(uncut.state_dict())
    there = resumed.load_state_dict(state)
    ours, theirs = (
        walked(resumed, there, 30, torch.Generator().manual_seed(1)),
        walked(uncut, now, 30, noise.manual_seed(1)),
    )
    assert all(torch.equal(one.final, other.final) for one, other in zip(ours, theirs, strict=True))


def test_an_observation_that_differs_is_found() -> None:
    uncut = made("CartPole-v1", False)
    walked(uncut, uncut.reset(3), 30, torch.Generator().manual_seed(0))
    state = uncut.state_dict()
    state["episodes"][1]["observation"] = "0" * 16
    with pytest.raises(
        EnvironmentFault, match="environment 1 of 3, counted from 0: replay: its observation is another"
    ):
        made("CartPole-v1", False).load_state_dict(state)
    state = uncut.state_dict()
    state["episodes"][2]["actions"] = [0] * 300
    with pytest.raises(
        EnvironmentFault, match="environment 2 of 3, counted from 0: replay: its episode has come to an end"
    ):
        made("CartPole-v1", False).load_state_dict(state)
    with pytest.raises(EnvironmentFault, match="CartPole-v1: the checkpoint holds no episodes of 3 such environments"):
        made("CartPole-v1", False).load_state_dict({"episodes": []})


def test_the_replay_leaves_the_global_generators_as_they_are() -> None:
    uncut = made(f"{TINY}:Global", False, time_limit=5)
    walked(uncut, uncut.reset(3), 10, torch.Generator().manual_seed(0))
    before = np.random.get_state()[1].tobytes(), random.getstate(), torch.get_rng_state()  # type: ignore[union-attr]
    with pytest.raises(EnvironmentFault):
        made(f"{TINY}:Global", False, time_limit=5).load_state_dict(uncut.state_dict())
    after = np.random.get_state()[1].tobytes(), random.getstate(), torch.get_rng_state()  # type: ignore[union-attr]
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


def test_vector_environments_of_a_user_hold_nothing() -> None:
    environments = made("tests.control.training.toy_environments:walks", False)
    assert not environments.resumes
    environments.reset(0)
    assert environments.state_dict() == {}
