"""Hard concrete and stochastic gates: their formulas, the papers' numbers, and draws against the stated probabilities.

Statistical tests have fixed seeds: counts within 5 standard deviations, p-values above 1e-4.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from discrete_lightning.selection import HardConcrete, StochasticGate, expected_cost
from discrete_lightning.selection.functional import (
    hard_concrete,
    hard_concrete_mean,
    hard_concrete_probability,
    stochastic_gate,
    stochastic_gate_probability,
)
from tests.references import gates as reference
from tests.references.goodness_of_fit import sigmas, uniform_p
from tests.references.inputs import leaf, seeded

LOCATIONS = [-6.0, -2.4, -1.0, 0.0, 0.3, 2.0, 5.0]
STRETCHES = [(2 / 3, -0.1, 1.1), (0.5, -0.3, 1.05)]
SIGMAS = [0.5, 0.2]
DRAWS = 40_000


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
def test_the_probability_of_an_open_hard_concrete_gate(stretch: tuple[float, float, float]) -> None:
    found = hard_concrete_probability(torch.tensor(LOCATIONS), *stretch)
    wanted = torch.tensor([reference.hard_concrete_open(a, *stretch) for a in LOCATIONS])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_probability_of_an_open_stochastic_gate(sigma: float) -> None:
    found = stochastic_gate_probability(torch.tensor(LOCATIONS), sigma)
    wanted = torch.tensor([1 - reference.stochastic_gate_cdf(0.0, mu, sigma) for mu in LOCATIONS])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)
    far = stochastic_gate_probability(torch.tensor([-3.0]), 0.5)  # Phi(-6) is not rounded to 0
    assert far.item() == pytest.approx(9.866e-10, rel=1e-3)


def test_numbers_of_the_papers() -> None:
    """A gate that is open half of the time is .10 at the paper's test time; .31 of the time where that is first 0."""
    gate = torch.tensor([-2.40, -1.60, 2.40])
    torch.testing.assert_close(hard_concrete_mean(gate), torch.tensor([0.0, 0.10, 1.0]), rtol=0, atol=2e-3)
    torch.testing.assert_close(hard_concrete_probability(gate), torch.tensor([0.31, 0.50, 0.98]), rtol=0, atol=5e-3)
    below, above = torch.tensor([-2.41, 2.41]), torch.tensor([-2.39, 2.39])
    assert hard_concrete_mean(below).tolist() == [0, 1]
    assert 0 < hard_concrete_mean(above)[0] < hard_concrete_mean(above)[1] < 1
    layer = StochasticGate(3)
    with torch.no_grad():
        layer.mu.copy_(torch.tensor([0.0, 0.5, 1.0]))
    assert layer.published_gates().tolist() == [0, 0.5, 1]
    torch.testing.assert_close(layer.open_probability(), torch.tensor([0.5, 0.841345, 0.977250]))


def test_published_gates_of_a_layer() -> None:
    layer = HardConcrete(3, gamma=-0.3, zeta=1.05)
    with torch.no_grad():
        layer.log_alpha.copy_(torch.tensor([-3.0, 0.4, 4.0]))
    wanted = [min(1.0, max(0.0, reference.sigmoid(a) * 1.35 - 0.3)) for a in (-3.0, 0.4, 4.0)]
    torch.testing.assert_close(layer.published_gates(), torch.tensor(wanted))
    assert layer.open().tolist() == [False, True, True]


def assert_follows(z: Tensor, cdf: Callable[[float], float]) -> None:
    """Zeros, ones, and values between."""
    never, below = cdf(0.0), cdf(1 - 1e-12)
    assert sigmas(float((z == 0).sum()), len(z), never) < 5
    assert sigmas(float((z == 1).sum()), len(z), 1 - below) < 5
    inside = z[(z > 0) & (z < 1)].double()
    placed = torch.tensor([(cdf(float(value)) - never) / (below - never) for value in inside[:5000]])
    assert uniform_p(placed) > 1e-4


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
@pytest.mark.parametrize("log_alpha", [-1.5, 0.0, 1.0])
def test_draws_of_hard_concrete(log_alpha: float, stretch: tuple[float, float, float]) -> None:
    z = hard_concrete(torch.full((DRAWS,), log_alpha), *stretch, generator=seeded(1))
    assert_follows(z, lambda value: reference.hard_concrete_cdf(value, log_alpha, *stretch))


@pytest.mark.parametrize("sigma", [0.5, 0.3])
@pytest.mark.parametrize("mu", [-0.1, 0.5, 0.8])
def test_draws_of_stochastic_gates(mu: float, sigma: float) -> None:
    z = stochastic_gate(torch.full((DRAWS,), mu), sigma, generator=seeded(2))
    assert_follows(z, lambda value: reference.stochastic_gate_cdf(value, mu, sigma))


def test_the_test_of_draws_can_fail() -> None:
    z = hard_concrete(torch.zeros(DRAWS), generator=seeded(1))
    with pytest.raises(AssertionError):
        assert_follows(z, lambda value: reference.hard_concrete_cdf(value, 0.1, 2 / 3, -0.1, 1.1))


def test_gradients_of_a_draw_given_the_noise() -> None:
    """dz/da inside (0, 1), and none where it is clipped."""
    a = leaf(torch.linspace(-3, 3, 2000), torch.float32)
    z = hard_concrete(a, generator=seeded(3))
    z.sum().backward()
    s = (z.detach().double() + 0.1) / 1.2
    slope = torch.where((z > 0) & (z < 1), 1.2 * s * (1 - s) / (2 / 3), 0.0)
    assert 100 < int((z == 0).sum()) < 1000
    torch.testing.assert_close(a.grad.double(), slope, rtol=1e-3, atol=1e-5)
    mu = leaf(torch.linspace(-1, 2, 2000))
    z = stochastic_gate(mu, generator=seeded(4))
    z.sum().backward()
    assert torch.equal(mu.grad, ((z > 0) & (z < 1)).float())


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
def test_the_gradient_of_the_expected_cost_of_hard_concrete(stretch: tuple[float, float, float]) -> None:
    layer = HardConcrete(len(LOCATIONS), beta=stretch[0], gamma=stretch[1], zeta=stretch[2])
    with torch.no_grad():
        layer.log_alpha.copy_(torch.tensor(LOCATIONS))
    expected_cost(layer).backward()
    wanted = [reference.slope(lambda a: reference.hard_concrete_open(a, *stretch), a) for a in LOCATIONS]
    torch.testing.assert_close(layer.log_alpha.grad, torch.tensor(wanted), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_gradient_of_the_expected_cost_of_stochastic_gates(sigma: float) -> None:
    locations = [-0.9, -0.3, 0.0, 0.5, 1.1]
    layer = StochasticGate(len(locations), sigma=sigma)
    with torch.no_grad():
        layer.mu.copy_(torch.tensor(locations))
    expected_cost(layer).backward()
    wanted = [reference.slope(lambda mu: 1 - reference.stochastic_gate_cdf(0.0, mu, sigma), mu) for mu in locations]
    torch.testing.assert_close(layer.mu.grad, torch.tensor(wanted), rtol=1e-4, atol=1e-6)


def test_how_gates_start() -> None:
    torch.manual_seed(0)
    assert HardConcrete(400, drop=0.2).log_alpha.mean().item() == pytest.approx(1.386, abs=0.003)  # log .8 / .2
    assert HardConcrete(400).log_alpha.std().item() == pytest.approx(0.01, rel=0.2)
    assert StochasticGate(400).mu.mean().item() == pytest.approx(0.5, abs=0.003)
    assert StochasticGate(400).mu.std().item() == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_of_functions(dtype: torch.dtype) -> None:
    x = torch.zeros(2000, dtype=dtype)
    for z in (hard_concrete(x, generator=seeded(0)), stochastic_gate(x, generator=seeded(0))):
        assert z.dtype == dtype
        assert z.min() == 0
        assert z.max() == 1
    assert hard_concrete_probability(x).dtype == stochastic_gate_probability(x).dtype
    assert hard_concrete_probability(x.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: hard_concrete(torch.zeros(1), beta=0.0), "need beta > 0, gamma < 0 and zeta > 1, got beta=0.0"),
        (lambda: hard_concrete(torch.zeros(1), gamma=0.1), "gamma=0.1"),
        (lambda: hard_concrete_probability(torch.zeros(1), zeta=1.0), "zeta=1.0"),
        (lambda: hard_concrete_mean(torch.zeros(1), zeta=float("inf")), "zeta=inf"),
        (lambda: stochastic_gate(torch.zeros(1), 0.0), "sigma"),
        (lambda: stochastic_gate_probability(torch.zeros(1), float("nan")), "sigma"),
    ],
)
def test_arguments_out_of_range(call: Callable[[], Tensor], told: str) -> None:
    with pytest.raises(ValueError, match=told) as error:
        call()
    assert "\n" not in str(error.value)
