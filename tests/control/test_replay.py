"""A memory of transitions: the last ones, what they led to, and each process's part of a batch."""

import pytest
import torch

from discrete_lightning.control.collector import Collector
from discrete_lightning.control.replay import Replay
from tests.control.scripted import NEXT_STEP, SAME_STEP, Scripted, Uniform


def _filled(
    replay: Replay, steps: list[int], count: int = 3, first: int = 0, total: int = 3, mode: str = SAME_STEP
) -> Collector:
    collector, policy = Collector(Scripted(count, first, mode), total=total), Uniform()
    for each in steps:
        replay.add(collector.collect(each, policy.distribution, policy.choice), total)
    return collector


@pytest.mark.parametrize("mode", [SAME_STEP, NEXT_STEP])
def test_what_is_drawn_is_what_happened(mode: str) -> None:
    replay = Replay(300)
    batch = replay.sample(400, _filled(replay, [7, 7, 7], mode=mode))
    rows = batch.counted
    number, episode, step = batch.observations[rows].unbind(-1)
    assert torch.equal(batch.rewards[rows], 10 * number + step + 1)
    is_end = step + 1 == 2 + number
    assert torch.equal(batch.terminated[rows], is_end & (episode % 2 == 0))
    led_to = torch.stack([number, episode, step + 1], -1)
    kept = ~batch.terminated[rows]
    assert torch.equal(batch.after[rows][kept], led_to[kept])
    assert batch.legal is not None
    assert torch.equal(batch.legal[rows][:, 4], step % 2 == 1)
    assert batch.actions.shape == (400, 2)


def test_the_oldest_are_forgotten() -> None:
    replay = Replay(15)  # 5 steps of 3 environments
    collector = _filled(replay, [2, 2, 2, 2])
    assert len(replay) == 5
    environment_2 = replay.sample(2_000, collector).observations
    rows = environment_2[environment_2[:, 0] == 2]
    found = {tuple(row) for row in rows[:, 1:].int().tolist()}
    # episodes of 4 steps: steps 3 to 7 of 8
    assert found == {(0, 3), (1, 0), (1, 1), (1, 2), (1, 3)}


def test_what_a_mask_said_of_the_next_state_is_not_that_of_another_episode() -> None:
    """After a time limit nobody has said which actions are legal: there all are, as in `Rollout.values`."""
    replay = Replay(300)
    batch = replay.sample(400, _filled(replay, [20]))
    assert batch.legal_after is not None
    cut = (batch.after[:, 2] == batch.after[:, 0] + 2) & ~batch.terminated
    assert cut.any()
    assert bool(batch.legal_after[cut].all())
    inside = ~cut & ~batch.terminated
    assert torch.equal(batch.legal_after[inside][:, 4], batch.after[inside][:, 2] % 2 == 1)


def test_two_processes_draw_what_one_draws() -> None:
    whole, parts = Replay(300), [Replay(300), Replay(300)]
    batch = whole.sample(64, _filled(whole, [9], 4, 0, 4))
    own = [each.sample(64, _filled(each, [9], 2, 2 * k, 4)) for k, each in enumerate(parts)]
    assert sum(len(each.rewards) for each in own) == 64
    together = torch.cat([each.observations for each in own])
    assert sorted(together.tolist()) == sorted(batch.observations.tolist())
    for k, each in enumerate(own):
        assert set(each.observations[:, 0].int().tolist()) <= {2 * k, 2 * k + 1}


def test_a_restored_memory_goes_on_alike() -> None:
    first, second, third = Replay(15), Replay(15), Replay(15)
    collector = _filled(first, [4, 4])
    assert second.load_state_dict(first.state_dict(), collector)
    policy = Uniform()
    rollout = collector.collect(2, policy.distribution, policy.choice)
    first.add(rollout, 3)
    second.add(rollout, 3)
    state = collector.generator.get_state()
    one = first.sample(50, collector)
    collector.generator.set_state(state)
    assert torch.equal(second.sample(50, collector).observations, one.observations)
    assert not third.load_state_dict(first.state_dict(), _filled(Replay(9), [1], 4, 0, 4))
    part = Collector(Scripted(2, 1), total=3)
    assert third.load_state_dict(first.state_dict(), part)
    assert set(third.sample(50, part).observations[:, 0].tolist()) == {1.0, 2.0}


def test_a_rollout_longer_than_the_memory_leaves_its_last_steps() -> None:
    replay = Replay(6)
    collector = _filled(replay, [2, 8])
    assert len(replay) == 2
    found = replay.sample(500, collector).observations
    rows = {tuple(row) for row in found[found[:, 0] == 2][:, 1:].int().tolist()}
    assert rows == {(2, 0), (2, 1)}
