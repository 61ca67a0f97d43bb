"""The gradients of subsets given a draw, averaged over all draws by enumeration: exact, no statistics."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional._plackett_luce import inclusion_gradient, trapezoid_gradient
from tests.references import estimators as reference
from tests.references import subsets
from tests.references.gumbel import probabilities
from tests.references.inputs import seeded

SIZES = [(4, 1), (5, 2), (6, 3), (5, 4)]


def log_p(categories: int, scale: float = 1.0) -> Tensor:
    logits = scale * torch.randn(categories, generator=seeded(categories), dtype=torch.float64)
    return torch.log_softmax(logits, -1)


@pytest.mark.parametrize(("categories", "k"), SIZES)
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_the_mean_of_the_inclusion_gradient_is_exact(categories: int, k: int, scale: float) -> None:
    """d/dlogits of sum_i g_i P(i in S), the exact gradient of a linear function."""
    x, order = log_p(categories, scale), subsets.orders(categories, k)
    g = torch.randn(categories, generator=seeded(1), dtype=torch.float64)
    rows = inclusion_gradient(x.expand(len(order), -1), order, g.expand(len(order), -1))
    mean = subsets.order_probability(x, order) @ rows
    torch.testing.assert_close(mean, subsets.exact_gradient(lambda sample: sample @ g, x, k))


@pytest.mark.parametrize(("categories", "k"), SIZES)
@pytest.mark.parametrize("degree", [1, 2])
def test_the_mean_of_the_trapezoid_rule_is_exact_on_quadratic_functions(categories: int, k: int, degree: int) -> None:
    torch.testing.assert_close(*trapezoid_and_exact(categories, k, degree))


def test_the_test_of_exactness_can_fail() -> None:
    mean, exact = trapezoid_and_exact(6, 3, 3)
    assert (mean - exact).norm() > 0.05 * exact.norm()


def trapezoid_and_exact(categories: int, k: int, degree: int) -> tuple[Tensor, Tensor]:
    x, order, function = log_p(categories), subsets.orders(categories, k), subsets.polynomial(degree, categories)
    g = reference.cotangents(function, subsets.k_hot(order, categories))
    rows = trapezoid_gradient(x.expand(len(order), -1), order, g)
    return subsets.order_probability(x, order) @ rows, subsets.exact_gradient(function, x, k)


def test_one_category_is_straight_through_and_reinmax() -> None:
    """For each draw, not in the mean only."""
    x, order = log_p(6), torch.arange(6).unsqueeze(-1)
    g = torch.randn(6, 6, generator=seeded(2), dtype=torch.float64)
    rows = x.expand(6, 6)
    torch.testing.assert_close(inclusion_gradient(rows, order, g), reference.jacobian_product(probabilities(rows), g))
    drawn = subsets.k_hot(order, 6)
    torch.testing.assert_close(trapezoid_gradient(rows, order, g), reference.reinmax(rows, drawn, 1.0, g))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sure_and_impossible_categories(dtype: torch.dtype) -> None:
    """Weights of 0 (masked), of 1e-30 and of nearly 1: finite, and no gradient to what is masked."""
    x = torch.log_softmax(torch.tensor([0.0, -70.0, -1e30, 50.0, 49.0, -torch.inf], dtype=dtype), -1)
    g = torch.randn(6, generator=seeded(3), dtype=dtype)
    for order in ([3, 4], [4, 3], [3, 0], [0, 1], [3, 4, 0], [3, 4, 0, 1]):
        for rule in (inclusion_gradient, trapezoid_gradient):
            gradient = rule(x, torch.tensor(order), g)
            assert gradient.isfinite().all()
            assert not gradient[[2, 5]].any()


@pytest.mark.parametrize("rule", [inclusion_gradient, trapezoid_gradient])
def test_float32_is_close_to_float64(rule: object) -> None:
    x = torch.log_softmax(4 * torch.randn(200, 30, generator=seeded(4), dtype=torch.float64), -1)
    order = (x - torch.empty_like(x).exponential_(generator=seeded(5)).log()).topk(12).indices
    g = torch.randn(200, 30, generator=seeded(6), dtype=torch.float64)
    one, other = rule(x, order, g), rule(x.float(), order, g.float())  # type: ignore[operator]
    torch.testing.assert_close(other.double(), one, rtol=1e-3, atol=2e-5)
