"""Running statistics against numpy over all that was seen, and scaled rewards against a loop."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from discrete_lightning.control.reward_scale import RewardScale
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.running_norm import RunningNorm


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)], ids=str)
def test_mean_and_variance_are_those_of_all_counted_rows(shape: tuple[int, ...]) -> None:
    """Far from 0, where sums of squares in float32 would fail."""
    norm, generator, seen = RunningNorm(shape), torch.Generator().manual_seed(0), []
    for i in range(20):
        x = 1_000 + 3 * i + torch.randn(7, 4, *shape, generator=generator)
        counted = torch.rand(7, 4, generator=generator) < 0.7
        norm.update(torch.where(counted.view(7, 4, *[1] * len(shape)), x, torch.nan), counted)
        seen.append(x[counted].double().numpy())
    every = np.concatenate(seen)
    np.testing.assert_allclose(norm.mean.numpy(), every.mean(0), rtol=1e-6)
    np.testing.assert_allclose(norm.variance.numpy(), every.var(0), rtol=1e-3)
    assert norm.count == len(every)
    x = torch.full((1, *shape), 1_020.0)
    expected = (1_020.0 - every.mean(0)) / np.sqrt(every.var(0) + 1e-8)
    np.testing.assert_allclose(norm(x)[0].numpy(), expected, rtol=5e-3, atol=1e-3)


def test_before_an_update_nothing_changes_and_large_values_are_clipped() -> None:
    norm = RunningNorm([1])
    x = torch.tensor([[50.0]])
    assert torch.equal(norm(x), x)
    norm.update(torch.tensor([[-1.0], [1.0]]))
    assert norm(x).item() == 10
    assert norm(-x).item() == -10


def test_an_update_without_a_row_that_counts_changes_nothing() -> None:
    norm = RunningNorm([2])
    norm.update(torch.randn(5, 2), torch.zeros(5, dtype=torch.bool))
    assert norm.count == 0
    assert torch.equal(norm(torch.ones(1, 2)), torch.ones(1, 2))


def test_it_is_saved_and_stays_float32() -> None:
    norm = RunningNorm([2])
    norm.update(torch.randn(5, 2))
    other = RunningNorm([2]).bfloat16()
    other.load_state_dict(norm.state_dict())
    assert other.mean.dtype == torch.float32
    assert torch.equal(other(torch.ones(1, 2)), norm(torch.ones(1, 2)))


def _rollout(generator: torch.Generator) -> Rollout:
    rewards = torch.randn(6, 3, generator=generator) + 1
    terminated, truncated = (torch.rand(6, 3, generator=generator) < 0.2 for _ in range(2))
    ended = terminated | truncated
    counted = torch.cat([torch.ones_like(ended[:1]), ~ended[:-1]])
    none: Tensor = torch.zeros(0)
    return Rollout(
        none, none, rewards, terminated & counted, truncated & counted, counted, none, none, None, None, none
    )  # fmt: skip


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return() -> None:
    generator, scale, gamma = torch.Generator().manual_seed(0), RewardScale(0.9), 0.9
    running, seen = [0.0] * 3, []
    for _ in range(5):
        rollout = _rollout(generator)
        found = scale(rollout)
        for t in range(6):
            for i in range(3):
                if rollout.counted[t, i]:
                    running[i] = gamma * running[i] + float(rollout.rewards[t, i])
                    seen.append(running[i])
                    if rollout.terminated[t, i] or rollout.truncated[t, i]:
                        running[i] = 0.0
        expected = rollout.rewards.double() / math.sqrt(np.var(seen) + 1e-8)
        torch.testing.assert_close(found.double(), expected.clamp(-10, 10), rtol=1e-4, atol=1e-5)
    assert scale.running is not None
    assert scale.running.tolist() == pytest.approx(running, rel=1e-5)
