"""Texts as streams: every token but the first is a target once, and rows go on from batch to batch."""

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from discrete_lightning.data.dataset import as_is
from discrete_lightning.data.streams import NO_TARGET, TextStreams


def check_rows(batches: list[tuple[Tensor, Tensor]], rows: int) -> list[list[tuple[int, int]]]:
    """(input, target) of each row through all batches, those that are none left out, checked to be at the end only."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(rows)]
    for inputs, targets in batches:
        assert inputs.shape == targets.shape
        assert inputs.dtype == targets.dtype == torch.int64
        assert len(inputs) == rows
        for row, x, y in zip(found, inputs.tolist(), targets.tolist(), strict=True):
            row += zip(x, y, strict=True)
    for i, row in enumerate(found):
        real = [pair for pair in row if pair[1] != NO_TARGET]
        assert row == real + [(0, NO_TARGET)] * (len(row) - len(real))
        found[i] = real
    return found


@pytest.mark.parametrize("count", [2, 3, 7, 8, 9, 16, 17, 31, 64])
@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.parametrize("context", [1, 2, 4, 7, 100])
def test_every_token_but_the_first_is_a_target_once(count: int, rows: int, context: int) -> None:
    if rows >= count:
        pytest.skip("more rows than targets")
    tokens = torch.arange(100, 100 + count, dtype=torch.int32)
    data = TextStreams(tokens, context, rows)
    loader = DataLoader(data, batch_size=rows, collate_fn=as_is, drop_last=True)
    batches = list(loader)
    assert len(batches) * rows == len(data)  # nothing is dropped
    assert all(inputs.shape[1] <= context for inputs, _ in batches)
    found = check_rows(batches, rows)
    assert [target for row in found for _, target in row] == list(range(101, 100 + count))
    assert all(target == source + 1 for row in found for source, target in row)


@pytest.mark.parametrize(("count", "context"), [(50, 4), (51, 5), (17, 3), (9, 100), (33, 4)])
def test_two_ranks_read_their_own_rows_on(count: int, context: int) -> None:
    rows, ranks = 3, 2
    data = TextStreams(torch.arange(count), context, rows * ranks)
    found: list[list[tuple[int, int]]] = []
    for rank in range(ranks):
        sampler = DistributedSampler(data, ranks, rank, shuffle=False)
        batches = list(DataLoader(data, batch_size=rows, sampler=sampler, collate_fn=as_is))
        found += check_rows(batches, rows)
        for row in found:
            assert [source for source, _ in row] == list(range(row[0][0], row[0][0] + len(row))) if row else True
    assert sorted(target for row in found for _, target in row) == list(range(1, count))


def test_single_items_are_rows_of_a_batch() -> None:
    data = TextStreams(torch.arange(23), context=4, rows=3)
    whole = data.__getitems__(range(len(data) - 3, len(data)))
    for i in range(3):
        inputs, targets = data[len(data) - 3 + i]
        assert inputs.tolist() == whole[0][i].tolist()
        assert targets.tolist() == whole[1][i].tolist()
    with pytest.raises(IndexError):
        data[len(data)]


@pytest.mark.parametrize("count", [0, 1])
def test_no_targets_are_no_items(count: int) -> None:
    assert len(TextStreams(torch.zeros(count, dtype=torch.int32), 4, 1)) == 0
