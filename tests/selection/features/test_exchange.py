"""Exchanges of columns: the leave-one-out error by refitting, and what an exchange may do."""

import itertools

import pytest
import torch
from torch import Tensor

from discrete_lightning.selection.features.exchange import _errors, exchanged
from tests.references.inputs import seeded


def naive_errors(x: Tensor, y: Tensor, columns: list[int], ridge: float = 1.0) -> Tensor:
    """Each row predicted by a kernel ridge regression of the others, refitted for it; squared errors (n,) in float64."""
    x, y, errors = x[:, columns].double(), y.double(), []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        kernel = torch.stack([torch.exp(-((x[others] - x[j]) ** 2).sum(1) / len(columns)) for j in others])
        weights = torch.linalg.solve(kernel + ridge * torch.eye(len(others)), y[others])
        near = torch.exp(-((x[others] - x[i]) ** 2).sum(1) / len(columns))
        errors.append((y[i] - near @ weights).square().sum())
    return torch.stack(errors)


def table(rows: int = 30, columns: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = torch.randn(rows, columns, generator=seeded(seed))
    y = torch.stack([x[:, 1] * x[:, 4], x[:, 1].abs()], 1) + 0.1 * torch.randn(rows, 2, generator=seeded(seed + 50))
    return x, y - y.mean(0)


@pytest.mark.parametrize("ridge", [1.0, 0.3])
@pytest.mark.parametrize("kept", [[], [2], [0, 3, 4]], ids=str)
def test_leave_one_out_errors_are_those_of_refitting(kept: list[int], ridge: float) -> None:
    x, y = table()
    added = [1, 5]
    found = _errors(x, y, kept, added, ridge)
    wanted = torch.stack([naive_errors(x, y, [*kept, each], ridge) for each in added])
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)


def test_many_columns_are_tried_in_parts() -> None:
    x, y = table(columns=40)
    every = _errors(x, y, [0], list(range(1, 40)), 1.0)
    assert every.shape == (39, 30)
    torch.testing.assert_close(every[35], _errors(x, y, [0], [36], 1.0)[0])


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_the_error_never_rises_and_no_exchange_is_left(seed: int, k: int) -> None:
    x, y = table(20, seed=seed)
    for start in ([0, 2, 3][:k], [1, 4, 5][:k]):
        found = exchanged(x, y, start, list(range(6)))
        assert len(set(found)) == len(found) == k
        error = naive_errors(x, y, found).mean()
        assert error <= naive_errors(x, y, start).mean() * (1 + 1e-6)
        for place, other in itertools.product(range(k), set(range(6)) - set(found)):
            changed = [other if i == place else each for i, each in enumerate(found)]
            assert naive_errors(x, y, changed).mean() > error * (1 - 2e-4)


def test_the_best_pair_is_found() -> None:
    x, y = table(60)
    assert sorted(exchanged(x, y, [0, 2], list(range(6)))) == [1, 4]
    assert exchanged(x, y, [4, 0], list(range(6))) == [4, 1]  # what stays keeps its place


def test_candidates_alone_come_in() -> None:
    x, y = table(60)
    assert set(exchanged(x, y, [0, 2], [0, 2, 3, 5])) <= {0, 2, 3, 5}
    assert exchanged(x, y, [0, 2], [2, 0]) == [0, 2]
    assert exchanged(x, y, [1, 4], []) == [1, 4]


def test_targets_of_nothing_change_nothing() -> None:
    x, _ = table()
    assert exchanged(x, torch.zeros(30, 1), [0, 2], list(range(6))) == [0, 2]


def test_a_bound_on_what_is_tried_and_on_rows() -> None:
    x, y = table(60)
    once = exchanged(x, y, [0, 2, 3], list(range(6)), trials=1)
    assert len(set(once) - {0, 2, 3}) <= 1
    wide = torch.cat([x.repeat(7, 1)[:400], 100 * torch.ones(50, 6)])  # rows beyond 400 do not count
    target = torch.cat([y.repeat(7, 1)[:400], torch.ones(50, 2)])
    assert exchanged(wide, target, [0, 2], list(range(6))) == exchanged(
        wide[:400], target[:400], [0, 2], list(range(6))
    )
