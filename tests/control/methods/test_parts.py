"""What methods are made of: baselines of the others, and minibatches."""

from typing import Any

import pytest
import torch

from discrete_lightning.control.methods.base import minibatches
from discrete_lightning.control.methods.leave_one_out import mean_of_others
from tests.control.methods.agents import HandCollector
from tests.ranks import run_on_ranks


def _values() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 7, 1, 5, 7, 2])
    return torch.randn(7, 6, generator=generator, dtype=torch.float64), torch.arange(7)[:, None] < lengths


def _loop() -> torch.Tensor:
    values, counted = _values()
    found = torch.zeros_like(values)
    for t in range(7):
        for i in range(6):
            others = [float(values[t, j]) for j in range(6) if j != i and counted[t, j]]
            found[t, i] = sum(others) / len(others) if others else 0.0
    return found


def test_the_baseline_is_the_mean_of_the_others_that_still_go_on() -> None:
    values, counted = _values()
    found = mean_of_others(torch.where(counted, values, torch.nan), counted)
    torch.testing.assert_close(found[counted], _loop()[counted])


def _on_a_rank(parts: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    return mean_of_others(*parts[torch.distributed.get_rank()])


def test_two_ranks_with_episodes_of_different_length() -> None:
    values, counted = _values()
    parts = [(values[:, :1][:3], counted[:, :1][:3]), (values[:, 1:], counted[:, 1:])]
    found = run_on_ranks(_on_a_rank, parts)
    for each, own, at in zip(found, (_loop()[:3, :1], _loop()[:, 1:]), (counted[:3, :1], counted[:, 1:]), strict=True):
        torch.testing.assert_close(each[at], own[at])


def _collector(count: int, first: int, total: int) -> Any:
    class These:
        pass

    collector: Any = HandCollector()
    collector.environments, collector.total = These(), total
    collector.environments.count, collector.environments.first = count, first
    return collector


@pytest.mark.parametrize("size", [1, 5, 8, 39])
def test_minibatches_are_a_partition_and_that_of_one_process(size: int) -> None:
    steps, total = 10, 4
    whole = [each for each in minibatches(_collector(4, 0, 4), steps, size) if each is not None]
    assert sorted(torch.cat(whole).tolist()) == list(range(steps * total))
    assert [len(each) for each in whole[:-1]] == [size] * (len(whole) - 1)
    parts = [list(minibatches(_collector(count, first, 4), steps, size)) for count, first in ((1, 0), (3, 1))]
    assert len(parts[0]) == len(parts[1]) == len(whole)
    for every, one, three in zip(whole, *parts, strict=True):
        assert one is not None
        assert three is not None
        numbers = [4 * int(row) for row in one] + [4 * (int(row) // 3) + int(row) % 3 + 1 for row in three]
        assert sorted(numbers) == sorted(every.tolist())


def test_each_epoch_has_another_order_and_one_batch_of_all_has_none() -> None:
    collector = _collector(4, 0, 4)
    first, second = (torch.cat(list(minibatches(collector, 10, 8))) for _ in range(2))  # type: ignore[arg-type]
    assert not torch.equal(first, second)
    state = collector.generator.get_state()
    assert list(minibatches(collector, 10, 40)) == [None]
    assert torch.equal(collector.generator.get_state(), state)
