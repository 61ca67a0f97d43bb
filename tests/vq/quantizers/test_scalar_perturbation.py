"""FiniteScalarPerturbation: its levels are those of Lloyd and Max for a uniform variable, and its noise fills a cell."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.nn import FiniteScalarPerturbation, ResidualQuantizer
from tests.vq.quantizers.makers import some_vectors


def logistic(*shape: int) -> Tensor:
    """Of the density of which u is uniform."""
    u = torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.atanh(2 * u - 1).float()


def test_levels_are_the_means_of_their_cells_and_codes_have_the_variance_of_a_uniform_one() -> None:
    quantizer, x = FiniteScalarPerturbation([5]).eval(), logistic(200_000, 1)
    result = quantizer(x)
    u = (torch.tanh(x) - 0) / 2 * math.sqrt(12)
    for index in range(5):
        mine = result.indices == index
        assert abs(float(mine.float().mean()) - 0.2) < 0.005
        assert abs(float(u[mine].mean() - result.quantized[mine][0, 0])) < 0.01  # the centre of gravity
    assert abs(float(u.var()) - 1) < 0.01


def test_noise_is_uniform_over_a_cell_and_never_leaves_the_range() -> None:
    quantizer, x = FiniteScalarPerturbation([4, 7]), torch.zeros(50_000, 2)
    torch.manual_seed(0)
    moved = quantizer(x).quantized / math.sqrt(12)
    for channel, level in enumerate([4, 7]):
        values = moved[:, channel]
        assert values.abs().max() <= 1 / (2 * level) + 1e-6
        assert abs(float(values.std()) * math.sqrt(12) * level - 1) < 0.02
    edge = quantizer(torch.full((1000, 2), 9.0)).quantized / math.sqrt(12)
    assert edge.max() <= 0.5


def test_the_loss_is_zero_for_the_density_and_pulls_to_it() -> None:
    quantizer = FiniteScalarPerturbation([5, 5], mean=1.0, variance=1.0)
    assert quantizer(logistic(100_000, 2)).loss < 1e-4
    x = (3 * some_vectors(5000, 2) + 1).requires_grad_()
    loss = quantizer(x).loss
    expected = 1.0 + (9 - math.pi**2 / 12) ** 2
    assert abs(float(loss.detach()) / expected - 1) < 0.1
    (gradient,) = torch.autograd.grad(loss, x)
    assert (gradient * x.detach()).sum() > 0  # it shrinks


def test_a_gradient_reaches_vectors_without_a_rounding() -> None:
    quantizer, x = FiniteScalarPerturbation([5, 3], mean=0.0, variance=0.0), some_vectors(20, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(quantizer(x).quantized.sum(), x)
    expected = (1 - torch.tanh(x.detach()).square()) / 2 * math.sqrt(12)
    torch.testing.assert_close(gradient, expected)


def test_residual_stages_refine() -> None:
    quantizer, x = ResidualQuantizer(FiniteScalarPerturbation([4, 4]), 4).eval(), logistic(500, 2) * 0.9
    exact = torch.tanh(x) / 2 * math.sqrt(12)
    errors = [float((quantizer(x, depth=depth).quantized - exact).abs().max()) for depth in range(1, 5)]
    for before, after in itertools.pairwise(errors):
        assert after < 0.35 * before


@pytest.mark.parametrize("name", ["mean", "variance"])
def test_arguments_out_of_range(name: str) -> None:
    with pytest.raises(ValueError, match=f"FiniteScalarPerturbation: {name} must be >= 0, got -1"):
        FiniteScalarPerturbation([3], **{name: -1.0})
    with pytest.raises(ValueError, match="levels must be integers > 1"):
        FiniteScalarPerturbation([1])
