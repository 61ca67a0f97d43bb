"""Stability selection: halves, frequencies, its bound; measures of agreement against naive formulas."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.selection.statistics import jaccard_index, nogueira_stability, stability_selection
from tests.references.inputs import seeded


def test_halves_are_complementary_and_frequencies_are_counts() -> None:
    halves: list[Tensor] = []

    def fit(rows: Tensor) -> Tensor:
        halves.append(rows)
        return torch.tensor([True, len(halves) % 2 == 1, 0 in rows.tolist(), False])

    found = stability_selection(fit, rows=11, pairs=7, threshold=0.6)
    assert len(halves) == 14
    for first, second in zip(halves[::2], halves[1::2], strict=True):
        assert len(first) == len(second) == 5
        assert len(set(first.tolist()) | set(second.tolist())) == 10
    held = sum(0 in half.tolist() for half in halves) / 14
    assert found.frequencies.tolist() == pytest.approx([1, 0.5, held, 0])
    assert found.selected.tolist() == [True, False, False, False]
    assert found.mean_chosen == pytest.approx(1.5 + held)
    assert found.false_bound == pytest.approx((1.5 + held) ** 2 / (0.2 * 4))
    again = stability_selection(lambda rows: torch.tensor([0 in rows.tolist()]), rows=11, pairs=7)
    assert float(again.frequencies[0]) == pytest.approx(held)  # the seed alone decides the halves


def test_bound_holds_where_nothing_matters() -> None:
    """40 tables of noise; each half chooses the 7 columns of 100 most correlated with y: the bound is 1 false one."""
    false = []
    for run in range(40):
        generator = seeded(run)
        x, y = torch.randn(100, 100, generator=generator), torch.randn(100, generator=generator)

        def fit(rows: Tensor, x: Tensor = x, y: Tensor = y) -> Tensor:
            strength = (x[rows].T @ y[rows]).abs()
            return strength >= strength.topk(7).values[-1]

        found = stability_selection(fit, rows=100, pairs=25, seed=run)
        assert found.false_bound == pytest.approx(7**2 / (0.5 * 100))
        false.append(float(found.selected.sum()))
    mean = torch.tensor(false)
    assert mean.mean() <= 0.98 + 2 * mean.std() / 40**0.5


def test_what_matters_is_kept() -> None:
    x = torch.randn(200, 50, generator=seeded(0))
    y = x[:, :3].sum(dim=1) + 0.5 * torch.randn(200, generator=seeded(1))

    def fit(rows: Tensor) -> Tensor:
        strength = (x[rows].T @ y[rows]).abs()
        return strength >= strength.topk(5).values[-1]

    found = stability_selection(fit, rows=200)
    assert found.selected.nonzero().flatten().tolist() == [0, 1, 2]
    assert found.false_bound <= 1


@pytest.mark.parametrize(
    "options", [{"rows": 3}, {"pairs": 0}, {"threshold": 0.5}, {"threshold": 1.1}, {"threshold": float("nan")}]
)
def test_arguments_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="stability_selection needs"):
        stability_selection(lambda rows: torch.ones(3, dtype=torch.bool), **({"rows": 10} | options))


def test_fit_must_return_masks_of_one_length() -> None:
    with pytest.raises(ValueError, match=r"bool mask .* got torch.float32"):
        stability_selection(lambda rows: torch.ones(3), rows=10)
    lengths = itertools.count(3)
    with pytest.raises(ValueError, match="same length"):
        stability_selection(lambda rows: torch.ones(next(lengths), dtype=torch.bool), rows=10)


def naive_jaccard(masks: list[set[int]]) -> float:
    pairs = list(itertools.combinations(masks, 2))
    return sum(len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs) / len(pairs)


def naive_nogueira(masks: list[set[int]], features: int) -> float:
    runs = len(masks)
    parts = [sum(j in mask for mask in masks) / runs for j in range(features)]
    size = sum(map(len, masks)) / runs
    variance = sum(runs / (runs - 1) * p * (1 - p) for p in parts) / features
    return 1 - variance / (size / features * (1 - size / features))


def test_agreement_is_its_definition() -> None:
    for seed in range(20):
        masks = torch.rand(5, 12, generator=seeded(seed)) < 0.1 + 0.04 * seed
        sets = [set(mask.nonzero().flatten().tolist()) for mask in masks]
        assert jaccard_index(masks) == pytest.approx(naive_jaccard(sets))
        assert nogueira_stability(masks) == pytest.approx(naive_nogueira(sets, 12))


def test_agreement_of_equal_and_of_random_selections() -> None:
    same = (torch.arange(10) < 4).expand(5, -1)
    assert jaccard_index(same) == 1
    assert nogueira_stability(same) == 1
    by_chance = [nogueira_stability(torch.rand(5, 100, generator=seeded(i)) < 0.5) for i in range(200)]
    assert abs(sum(by_chance) / 200) < 0.01
    assert nogueira_stability(torch.tensor([[True, False], [False, True]])) == pytest.approx(-1)


def test_empty_selections() -> None:
    empty = torch.zeros(3, 4, dtype=torch.bool)
    assert jaccard_index(empty) == 1
    assert math.isnan(nogueira_stability(empty))
    assert math.isnan(nogueira_stability(~empty))


@pytest.mark.parametrize(
    "masks", [torch.ones(3, 4), torch.ones(1, 4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)]
)
@pytest.mark.parametrize("measure", [jaccard_index, nogueira_stability])
def test_agreement_needs_several_masks(measure, masks: Tensor) -> None:
    with pytest.raises(ValueError, match="needs bool masks"):
        measure(masks)
