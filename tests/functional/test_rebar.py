"""REBAR and RELAX: their gradient given the noise in float64, by the paper's formula for z~; no bias; variance. 5 sigma."""

import copy

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import REBAR, RELAX, Estimator, LeaveOneOut
from discrete_lightning.functional import gumbel_noise, rebar, relax
from tests.estimators.test_means import ODDS, ROWS, gradients, of_bits, of_categories
from tests.references import estimators as reference
from tests.references.inputs import leaf, seeded

WEIGHTS = torch.randn(3, 5, generator=seeded(0), dtype=torch.float64)


def function(sample: Tensor) -> Tensor:
    """Of samples (B, 3, 5)."""
    return (sample * WEIGHTS.to(sample.dtype)).sum((-2, -1)) ** 3 + (sample**2 * WEIGHTS.abs().to(sample.dtype)).sum(
        (-2, -1)
    )


def by_the_formula(logits: Tensor, noise: Tensor, tau: float, eta: float) -> Tensor:
    """Tucker et al. 2017, for categories as in Grathwohl et al. 2018, appendix B, by autograd; v such that z~ = z."""
    theta = logits.detach().double().requires_grad_()
    log_p = torch.log_softmax(theta, -1)
    z = log_p + noise.double()
    b = torch.nn.functional.one_hot(z.argmax(-1), 5).double()
    first = torch.exp(-(z * b).sum(-1, keepdim=True)).detach()  # -log v of the chosen category
    others = (torch.exp(-z.detach()) - first) * log_p.detach().exp()
    conditional = -torch.log(torch.where(b.bool(), 0.0, others / log_p.exp()) + first)
    torch.testing.assert_close(conditional, z)
    gain = function(b) - eta * function(torch.softmax(z / tau, -1)).detach()
    total = gain * (b * log_p).sum((-2, -1))
    total = total + eta * function(torch.softmax(z / tau, -1)) - eta * function(torch.softmax(conditional / tau, -1))
    return torch.autograd.grad(total.sum(), theta)[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("tau", [0.4, 1.0])
@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_the_gradient_given_the_noise(eta: float, tau: float, dtype: torch.dtype) -> None:
    logits = leaf(torch.randn(20, 3, 5, generator=seeded(1), dtype=torch.float64), dtype)
    rebar(function, logits, tau, eta=eta, generator=seeded(2)).sum().backward()
    exact = by_the_formula(logits, gumbel_noise(logits.shape, generator=seeded(2)), tau, eta)
    rounding = 1e-6 if dtype == torch.float64 else 1e-3
    torch.testing.assert_close(logits.grad.double(), exact, rtol=rounding, atol=rounding)


def test_relax_without_a_surrogate_is_rebar() -> None:
    found = []
    for run in (rebar, lambda *args, **kwargs: relax(args[0], None, *args[1:], **kwargs)):
        logits = leaf(torch.randn(20, 3, 5, generator=seeded(3)))
        run(function, logits, 0.6, eta=0.8, generator=seeded(4)).sum().backward()
        found.append(logits.grad)
    torch.testing.assert_close(*found)


class Surrogate(nn.Module):
    """Of perturbed logits (B, *event) of `size` numbers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(size, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))

    def forward(self, z: Tensor) -> Tensor:
        return 5 * self.net(z)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("row", [ROWS, ODDS], ids=["categorical", "bernoulli"])
def test_relax_is_unbiased_whatever_the_surrogate(row: Tensor, eta: float) -> None:
    of = of_categories(3) if row.ndim == 2 else of_bits(3)
    exact = reference.exact_gradient(of, row, binary=row.ndim == 1)
    reference.assert_mean(gradients(RELAX(Surrogate(row.numel()), eta), row, of, 0.7, 50_000, 5), exact)


def test_black_box_functions() -> None:
    table = torch.tensor([3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, 6.0])

    def from_table(bits: Tensor) -> Tensor:
        return table[(bits.detach() @ torch.tensor([4.0, 2.0, 1.0])).long()]

    with pytest.raises(
        ValueError, match=r"this one has no gradient: take LeaveOneOut or IndeCateR, or RELAX with eta=0"
    ):
        gradients(REBAR(), ODDS, from_table, 1.0, 10, 6)
    logits = ODDS.double().requires_grad_()
    samples = reference.bits(3)
    mean = (reference.probability_of(samples, logits, True) * from_table(samples.float()).double()).sum()
    exact = torch.autograd.grad(mean, logits)[0]
    reference.assert_mean(gradients(RELAX(Surrogate(3), 0.0), ODDS, from_table, 1.0, 50_000, 7), exact)


def test_the_surrogate_gets_the_gradient_of_the_squared_gradient() -> None:
    """Against differences of the sum of squares of what the logits get, for the same noise."""
    surrogate = Surrogate(15).double()
    logits = torch.randn(10, 3, 5, generator=seeded(8), dtype=torch.float64)

    def squares(module: nn.Module) -> Tensor:
        x = leaf(logits, torch.float64)
        relax(function, module, x, 0.6, generator=seeded(9)).sum().backward()
        return x.grad.square().sum()

    squares(surrogate)
    weight = surrogate.net[1].weight
    for place in ((0, 0), (3, 7), (7, 14)):
        ends = []
        for sign in (1.0, -1.0):
            moved = copy.deepcopy(surrogate)
            moved.net[1].weight.data[place] += sign * 1e-5
            ends.append(float(squares(moved)))
        assert float(weight.grad[place]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3)


def spread(estimator: Estimator, row: Tensor, degree: int, tau: float) -> float:
    of = of_categories(degree) if row.ndim == 2 else of_bits(degree)
    return float(gradients(estimator, row, of, tau, 10_000, 10).double().var(0).sum())


def test_training_the_surrogate_lowers_the_variance() -> None:
    surrogate = Surrogate(6)
    estimator = RELAX(surrogate, eta=0.0)
    before = spread(estimator, ROWS, 2, 1.0)
    optimizer = torch.optim.Adam(surrogate.parameters(), 0.02)
    for step in range(150):
        optimizer.zero_grad()
        estimator.expectation(of_categories(2), leaf(ROWS.expand(100, 2, 3)), 1.0, seeded(step)).mean().backward()
        optimizer.step()
    assert spread(estimator, ROWS, 2, 1.0) < 0.6 * before
    assert spread(estimator, ROWS, 2, 1.0) < 0.6 * spread(REBAR(eta=0.0), ROWS, 2, 1.0)


@pytest.mark.parametrize("row", [ROWS, ODDS], ids=["categorical", "bernoulli"])
@pytest.mark.parametrize("degree", [1, 2])
def test_rebar_has_less_variance_than_the_score_function(degree: int, row: Tensor) -> None:
    """And, at tau = 1, than two samples of leave-one-out, which calls the function twice as well."""
    assert spread(REBAR(), row, degree, 1.0) < 0.5 * spread(REBAR(eta=0.0), row, degree, 1.0)
    assert spread(REBAR(), row, degree, 1.0) < spread(LeaveOneOut(2), row, degree, 1.0)


def test_the_functions_parameters_get_the_gradient_at_the_draw_alone() -> None:
    weight, logits, seen = leaf(torch.ones(5)), leaf(torch.randn(50, 5, generator=seeded(11))), []

    def weighted(sample: Tensor) -> Tensor:
        seen.append(sample.detach())
        return sample @ weight

    REBAR().expectation(weighted, logits, 0.5, seeded(12)).sum().backward()
    assert len(seen) == 2
    torch.testing.assert_close(weight.grad, seen[0].sum(0))
