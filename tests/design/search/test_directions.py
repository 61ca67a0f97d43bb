"""Directions cover the simplex, and the score in a direction is what its formula says."""

import math

import pytest
import torch

from discrete_lightning.design.search.directions import directed_scores, spread_directions


@pytest.mark.parametrize("objectives", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 6, 40])
def test_directions_lie_on_the_simplex_and_differ(count: int, objectives: int) -> None:
    weights = spread_directions(count, objectives)
    assert weights.shape == (count, objectives)
    assert bool((weights >= 0).all())
    torch.testing.assert_close(weights.sum(1), torch.ones(count))
    if objectives > 1:
        assert len(weights.unique(dim=0)) == count


def test_every_point_of_a_triangle_is_near_a_direction() -> None:
    weights = spread_directions(21, 3)
    points = torch.distributions.Dirichlet(torch.ones(3)).sample((2000,))
    assert float(torch.cdist(points, weights).amin(1).max()) < 0.25  # a lattice of 21 has .24


def test_scores_against_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 5, 3, generator=generator)
    weights = torch.tensor([0.6, 0.4, 0.0])
    reference, ranges = torch.tensor([-1.0, 0.0, 0.5]), torch.tensor([1.0, 2.0, 4.0])
    scores = directed_scores(values, weights, reference, ranges)
    least = [0.6 / 1.05, 0.4 / 1.05, 0.05 / 1.05]
    for i in range(4):
        for j in range(5):
            u = [(float(values[i, j, k]) - float(reference[k])) / float(ranges[k]) for k in range(3)]
            total = sum(w * each for w, each in zip(least, u, strict=True))
            smallest = min(each / (3 * w) for w, each in zip(least, u, strict=True))
            assert float(scores[i, j]) == pytest.approx(0.5 * total + 0.5 * smallest, abs=1e-5)


def test_the_best_in_any_direction_is_not_dominated() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(200, 3, generator=generator)
    for weights in spread_directions(15, 3):
        best = values[directed_scores(values, weights, torch.zeros(3), torch.ones(3)).argmax()]
        assert not bool(((values >= best).all(1) & (values > best).any(1)).any())


def test_infinitely_bad_points_are_the_worst_and_have_finite_gradients_elsewhere() -> None:
    values = torch.tensor([[1.0, -math.inf], [-5.0, -5.0]], requires_grad=True)
    scores = directed_scores(values, torch.tensor([0.5, 0.5]), torch.zeros(2), torch.ones(2))
    assert scores.tolist() == [-math.inf, -5.0]
    (slope,) = torch.autograd.grad(scores[1], values)
    assert slope[1].sum() == 1.0
