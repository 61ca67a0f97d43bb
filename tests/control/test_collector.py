"""What a collector keeps of its steps: observations, ends, final observations, rows that do not count, episodes, noise."""

import pytest
import torch

from discrete_lightning.control.advantage import generalized_advantage
from discrete_lightning.control.collector import Collector
from discrete_lightning.control.rollout import Rollout
from tests.control.scripted import NEXT_STEP, SAME_STEP, Scripted, Uniform


def _collected(steps: int, mode: str = SAME_STEP, count: int = 3) -> tuple[Rollout, Collector, Scripted]:
    environments, policy = Scripted(count, mode=mode), Uniform()
    collector = Collector(environments)
    return collector.collect(steps, policy.distribution, policy.choice), collector, environments


def _number(observation: torch.Tensor) -> torch.Tensor:
    """A value of each observation that no other one has."""
    return observation @ torch.tensor([100.0, 10.0, 1.0])


@pytest.mark.parametrize("mode", [SAME_STEP, NEXT_STEP])
def test_rows_are_what_happened(mode: str) -> None:
    rollout, collector, environments = _collected(12, mode)
    assert rollout.observations.shape == (12, 3, 3)
    assert torch.equal(rollout.actions, torch.stack(environments.taken))
    for t in range(12):
        for i in range(3):
            _, episode, step = rollout.observations[t, i].tolist()
            if not rollout.counted[t, i]:
                assert mode == NEXT_STEP
                assert not (rollout.terminated | rollout.truncated)[t, i]
                continue
            assert rollout.time[t, i] == step
            assert rollout.rewards[t, i] == 10 * i + step + 1
            is_end = step + 1 == 2 + i
            assert (rollout.terminated[t, i], rollout.truncated[t, i]) == (
                is_end and episode % 2 == 0,
                is_end and episode % 2 == 1,
            )
    assert rollout.legal is not None
    assert torch.equal(rollout.legal[..., 4], rollout.observations[..., 2] % 2 == 1)
    assert torch.equal(rollout.last, collector.now.observations)


@pytest.mark.parametrize("mode", [SAME_STEP, NEXT_STEP])
def test_values_after_are_those_of_what_a_step_led_to(mode: str) -> None:
    """Also at a time limit, where the next row is another episode's; after an end of its own nobody asks."""
    rollout, _, _ = _collected(12, mode)
    before, after = rollout.values(lambda observations, legal: _number(observations))
    assert torch.equal(before, _number(rollout.observations))
    asked = rollout.counted & ~rollout.terminated
    assert torch.equal(after[asked], before[asked] + 1)
    assert rollout.truncated.any()


def test_the_critic_is_told_which_actions_are_legal() -> None:
    rollout, _, _ = _collected(12)

    def critic(observations: torch.Tensor, legal: torch.Tensor | None) -> torch.Tensor:
        assert legal is not None
        return legal[:, 4].float()

    before, after = rollout.values(critic)
    assert torch.equal(before, (rollout.observations[..., 2] % 2 == 1).float())
    assert bool((after[rollout.truncated] == 1).all())  # nobody has said: all are


def test_every_autoreset_mode_gives_the_same_advantages() -> None:
    """Of each environment, the same transitions in the same order, whatever lies between them."""
    found = []
    for mode, steps in ((SAME_STEP, 12), (NEXT_STEP, 24)):
        rollout, _, _ = _collected(steps, mode)
        values, after = rollout.values(lambda observations, _: _number(observations) / 50)
        parts = generalized_advantage(
            rollout.rewards, values, after, rollout.terminated, rollout.truncated, 0.9, 0.8, rollout.counted
        )
        # whole episodes alone: where a rollout is cut the two modes have come to different places
        ends = [int((rollout.terminated | rollout.truncated)[:, i].nonzero()[-1]) for i in range(3)]
        columns = [[each[: end + 1, i][rollout.counted[: end + 1, i]] for each in parts] for i, end in enumerate(ends)]
        found.append(columns)
    for same, following in zip(*found, strict=True):
        for one, other in zip(same, following, strict=True):
            size = min(len(one), len(other))
            assert size >= 9
            torch.testing.assert_close(one[:size], other[:size])


@pytest.mark.parametrize("mode", [SAME_STEP, NEXT_STEP])
def test_whole_episodes_are_one_of_each(mode: str) -> None:
    environments, policy = Scripted(3, mode=mode), Uniform()
    collector = Collector(environments, seed=7)
    for again in range(2):
        rollout = collector.collect_episodes(20, policy.distribution, policy.choice)
        assert environments.seed == 7 + 3 * again  # other episodes each time, and each environment has its own seed
        assert rollout.steps == 4
        assert rollout.counted.sum(0).tolist() == [2, 3, 4]
        assert (rollout.terminated | rollout.truncated).sum(0).tolist() == [1, 1, 1]
        kept = torch.where(rollout.counted, rollout.rewards, 0.0).sum(0)
        assert kept.tolist() == [1 + 2, 11 + 12 + 13, 21 + 22 + 23 + 24]
    assert collector.episodes.take() == {"return": pytest.approx((3 + 36 + 90) / 3), "length": pytest.approx(3.0)}
    assert collector.episodes.take() == {}


@pytest.mark.parametrize("mode", [SAME_STEP, NEXT_STEP])
def test_returns_of_episodes_that_go_on_across_rollouts(mode: str) -> None:
    policy, collector = Uniform(), Collector(Scripted(2, mode=mode))
    totals = []
    for _ in range(6):
        collector.collect(1, policy.distribution, policy.choice)
        totals.append(collector.episodes.take())
    assert totals[0] == {}
    assert totals[1] == {"return": 3.0, "length": 2.0}
    assert totals[2] == {"return": 36.0, "length": 3.0}


def test_two_processes_take_the_noise_of_one() -> None:
    one, parts = Uniform(), [Uniform(), Uniform()]
    Collector(Scripted(4), seed=3).collect(5, one.distribution, one.choice)
    for k, each in enumerate(parts):
        Collector(Scripted(2, first=2 * k), total=4, seed=3).collect(5, each.distribution, each.choice)
    together = [torch.cat(rows) for rows in zip(parts[0].noises, parts[1].noises, strict=True)]
    assert all(torch.equal(*pair) for pair in zip(together, one.noises, strict=True))


def test_after_whole_episodes_of_different_length_the_noise_is_still_the_same() -> None:
    """A process whose episodes are short draws less, and must not fall behind."""
    one, parts = Uniform(), [Uniform(), Uniform()]
    collectors = [Collector(Scripted(4)), Collector(Scripted(2), total=4), Collector(Scripted(2, first=2), total=4)]
    for collector, policy in zip(collectors, (one, *parts), strict=True):
        for _ in range(2):
            collector.collect_episodes(20, policy.distribution, policy.choice)
        collector.collect(1, policy.distribution, policy.choice)
    assert torch.equal(torch.cat([each.noises[-1] for each in parts]), one.noises[-1])
    states = [each.generator.get_state() for each in collectors]
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="1 step or more"):
        _collected(0)
