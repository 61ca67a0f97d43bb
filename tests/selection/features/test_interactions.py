"""Screened products: correlations by enumeration, planted products, and tables in which nothing matters."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from discrete_lightning.selection.features.interactions import screened_products
from tests.references.inputs import seeded


def naive(x: Tensor, y: Tensor, level: float, most: int) -> list[tuple[int, ...]]:
    """Products of two, then of three columns, squares and cubes among them, by numpy's correlations, one by one."""
    rows, columns = x.shape
    found = []
    for order in (2, 3):
        every = list(itertools.combinations_with_replacement(range(columns), order))
        strengths = {}
        for each in every:
            product = np.prod([x[:, j].double().numpy() for j in each], axis=0)
            strengths[each] = max(np.corrcoef(product, target.double().numpy())[0, 1] ** 2 for target in y.T)
        kept = [each for each in every if rows * strengths[each] > 2 * math.log(len(every) * y.shape[1] / level)]
        found += sorted(kept, key=strengths.__getitem__, reverse=True)[:most]
    return found


def normal(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=seeded(seed))


@pytest.mark.parametrize("most", [2, 50])
@pytest.mark.parametrize("outputs", [1, 2])
def test_all_products_of_five_columns(outputs: int, most: int) -> None:
    x = normal(300, 5, 0)
    signals = [
        x[:, 0] * x[:, 1] + 0.8 * x[:, 2] ** 2 + x[:, 0] * x[:, 1] * x[:, 3] + 0.3 * x[:, 4] ** 3,
        x[:, 1] * x[:, 3] ** 2 - x[:, 2] * x[:, 4],
    ]
    y = torch.stack(signals[:outputs], 1) + normal(300, outputs, 1)
    y[:, 0] *= 3  # correlations do not depend on units
    found, wanted = screened_products(x, y, most, level=0.5), naive(x, y, 0.5, most)
    assert found == wanted
    kinds = {(len(each), len(set(each))) for each in naive(x, y, 0.5, 50)}
    assert kinds >= {(2, 1), (2, 2), (3, 1), (3, 3)}  # squares, pairs, cubes, triples


def test_planted_products_are_first() -> None:
    for seed in range(5):
        x = normal(400, 12, seed)
        pair, triple = x[:, 3] * x[:, 8], x[:, 1] * x[:, 5] * x[:, 11]
        for y, wanted in ((pair, (3, 8)), (triple, (1, 5, 11))):
            found = screened_products(x, (y.sign() + 0.5 * normal(400, 1, 9)[:, 0]).unsqueeze(1))
            assert next(each for each in found if len(each) == len(wanted)) == wanted


def test_nothing_is_kept_where_nothing_matters() -> None:
    """At level .05 for each order in at most a share of .1 of tables: more than 10 of 40 have a probability below .001."""
    with_products = 0
    for seed in range(40):
        x, y = normal(150, 8, 100 + seed), normal(150, 1, 200 + seed)
        with_products += bool(screened_products(x, y))
    assert with_products <= 10
    many = sum(bool(screened_products(normal(150, 8, s), normal(150, 1, 50 + s), level=1e3)) for s in range(10))
    assert many > 5  # another level would be seen


def test_tables_that_are_not_looked_at() -> None:
    x = normal(60, 201, 0)
    y = (x[:, 5] * x[:, 9]).unsqueeze(1)
    assert screened_products(x[:7], y[:7]) == []
    assert screened_products(torch.zeros(10, 2001), y[:10]) == []
    assert screened_products(x, y)[0] == (5, 9)
    assert all(len(each) == 2 for each in screened_products(x, y, level=0.9))
    assert any(len(each) == 3 for each in screened_products(x[:, :20], y, level=0.9))
    wide = normal(100, 1500, 2)  # 1.1 million pairs
    assert screened_products(wide, wide[:, 70:71] * wide[:, 1400:1401])[0] == (70, 1400)


def test_columns_and_targets_that_do_not_vary() -> None:
    x, y = normal(50, 4, 0), normal(50, 1, 1)
    x[:, 2] = 0
    assert all(2 not in each for each in screened_products(x, y, level=0.99))
    assert screened_products(x, torch.zeros(50, 1)) == []
