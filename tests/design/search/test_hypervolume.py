"""Hypervolume against inclusion and exclusion, against a random estimate, and what it does not depend on."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.design import hypervolume, non_dominated


def by_inclusion_and_exclusion(values: Tensor, reference: Tensor) -> float:
    """The volume of a union of boxes: sum over all subsets of (-1)^(size + 1) times that of their intersection."""
    total = 0.0
    for size in range(1, len(values) + 1):
        for chosen in itertools.combinations(values.tolist(), size):
            corner = map(min, zip(*chosen, strict=True))
            sides = [max(0.0, a - b) for a, b in zip(corner, reference.tolist(), strict=True)]
            total += (-1) ** (size + 1) * math.prod(sides)
    return total


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("whole", [True, False], ids=["with ties", "without ties"])
def test_against_inclusion_and_exclusion(objectives: int, whole: bool) -> None:
    generator = torch.Generator().manual_seed(objectives)
    reference = torch.full((objectives,), 0.5, dtype=torch.float64)
    for _ in range(25):
        values = 5 * torch.rand(8, objectives, generator=generator, dtype=torch.float64)
        values = values.round() if whole else values
        assert hypervolume(values, reference) == pytest.approx(by_inclusion_and_exclusion(values, reference), abs=1e-9)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_against_random_points(objectives: int) -> None:
    """The share of 40,000 uniform points that are dominated: within 4 standard errors."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(60 if objectives > 3 else 300, objectives, generator=generator)
    values = values / values.norm(dim=1, keepdim=True)
    points = torch.rand(40_000, objectives, generator=generator)
    share = torch.cat([(part.unsqueeze(1) <= values).all(-1).any(1) for part in points.split(5000)]).float().mean()
    error = math.sqrt(float(share * (1 - share)) / 40_000)
    assert hypervolume(values, torch.zeros(objectives)) == pytest.approx(float(share), abs=4 * error)


@pytest.mark.parametrize("objectives", [2, 3])
def test_only_the_front_counts_in_any_order(objectives: int) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(80, objectives, generator=generator)
    reference = torch.full((objectives,), -1.0)
    whole = hypervolume(values, reference)
    assert hypervolume(values[non_dominated(values)], reference) == pytest.approx(whole)
    assert hypervolume(values[torch.randperm(80, generator=generator)], reference) == pytest.approx(whole)
    assert hypervolume(values[:, torch.arange(objectives).flip(0)], reference) == pytest.approx(whole)
    better = values.max(0).values + 0.1
    assert hypervolume(torch.cat([values, better[None]]), reference) == pytest.approx(float((better + 1).prod()))


def test_points_that_do_not_exceed_the_reference_add_nothing() -> None:
    values = torch.tensor([[1.0, 0.0], [-math.inf, 9.0], [2.0, -1.0]])
    assert hypervolume(values, torch.zeros(2)) == 0.0
    assert hypervolume(values[:0], torch.zeros(2)) == 0.0


@pytest.mark.parametrize(
    ("values", "reference", "message"),
    [
        (torch.zeros(3), torch.zeros(3), "values .n, objectives."),
        (torch.zeros(3, 2), torch.zeros(3), "got .3, 2. and .3,."),
        (torch.full((1, 2), math.nan), torch.zeros(2), "must be finite"),
        (torch.full((1, 2), math.inf), torch.zeros(2), "must be finite"),
        (torch.zeros(1, 2), torch.full((2,), math.nan), "must be finite"),
    ],
    ids=["one dimension", "shapes", "nan", "inf", "reference"],
)
def test_what_has_no_volume_is_refused(values: Tensor, reference: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hypervolume(values, reference)
