"""torch.compile and torch.func: the same distribution and the same gradients, with the noise of the trace."""

import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import (
    Estimator,
    GappedStraightThrough,
    GumbelRao,
    ReinMax,
    StraightThrough,
    StraightThroughGumbel,
)
from discrete_lightning.nn import RelaxedCategorical
from tests.references import estimators as reference
from tests.references.every_estimator import DECOUPLED, FIXED_TAU, HARD, PATHWISE, RANDOM, each_pathwise, forward_tau
from tests.references.goodness_of_fit import chi_square_p, sigmas
from tests.references.gumbel import probabilities
from tests.references.inputs import leaf, seeded

DECIDED = [StraightThrough(), DECOUPLED, ReinMax(), GappedStraightThrough()]
compiles = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles

ROW, COST = torch.tensor([0.5, -1.0, 0.0, -math.inf]), torch.tensor([1.0, -2.0, 3.0, 1.0])


def check_traced(estimator: Estimator, sample: Tensor, logits: Tensor, tau: float, cost: Tensor) -> None:
    """Rates, and the gradient of (sample @ cost)^2 given the sample, or its mean."""
    row, count, drawn = logits.detach()[0], len(logits), sample.detach()
    if estimator in RANDOM:
        rates = probabilities(row / forward_tau(estimator, tau))
        assert chi_square_p(drawn.argmax(-1).bincount(minlength=len(row)), rates) > 1e-4
    if estimator in HARD:
        assert drawn.unique().tolist() == [0, 1]
    if estimator in DECIDED:
        g = 2 * (drawn @ cost).unsqueeze(-1) * cost
        exact = reference.given_the_sample(estimator, logits.detach(), drawn, tau, g)
        torch.testing.assert_close(logits.grad.double(), exact, rtol=1e-4, atol=1e-5)
        return
    x = leaf(logits.detach())
    alike = StraightThroughGumbel() if isinstance(estimator, GumbelRao) else estimator
    (alike(x, tau, seeded(47)) @ cost).square().sum().backward()
    one, other = logits.grad.double(), x.grad.double()
    error = 5 * ((one.var(0) + other.var(0)) / count).sqrt() + 1e-6
    assert ((one.mean(0) - other.mean(0)).abs() <= error).all()


@compiles
@each_pathwise
def test_compiled(estimator: Estimator) -> None:
    """Several sizes of batch (the second makes it dynamic), a learnable temperature, one graph."""
    torch.compiler.reset()
    torch.manual_seed(48)
    compiled = torch.compile(lambda x, t: estimator(x, t), fullgraph=True, backend="aot_eager")
    for size in (20_000, 7, 5):
        logits, tau = leaf(ROW.expand(size, 4)), leaf(0.6)
        sample = compiled(logits, tau)
        (sample @ COST).square().sum().backward()
        assert sample.shape == (size, 4)
        assert logits.grad.isfinite().all()
        assert tau.grad is None or tau.grad.isfinite()
        if size == 20_000:
            check_traced(estimator, sample, logits, 0.6, COST)
            learns = estimator not in FIXED_TAU
            assert (tau.grad is not None and bool(tau.grad != 0)) == learns


@compiles
@each_pathwise
def test_compiled_bernoulli(estimator: Estimator) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    row = torch.tensor([0.5, -1.0, 0.0])
    compiled = torch.compile(lambda x, t: estimator.bernoulli(x, t), fullgraph=True, backend="aot_eager")
    for size in (50_000, 4, 3):
        logits, tau = leaf(row.expand(size, 3)), leaf(0.5)
        sample = compiled(logits, tau)
        (sample * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
        assert sample.shape == (size, 3)
        assert logits.grad.isfinite().all()
        assert logits.grad.any()
        assert tau.grad is None or tau.grad.isfinite()
        if size == 50_000 and estimator in RANDOM:
            rates = torch.sigmoid(row / forward_tau(estimator, 0.5))
            ones = (sample > 0.5).sum(0)
            assert all(sigmas(int(won), size, float(p)) < 5 for won, p in zip(ones, rates, strict=True))


@compiles
def test_compiled_by_inductor() -> None:
    torch.compiler.reset()
    torch.manual_seed(49)
    family = [ReinMax(), GumbelRao()]
    rows = [leaf(ROW.expand(5_000, 4)) for _ in family]
    compiled = torch.compile(lambda xs: [draw(x, 0.6) for draw, x in zip(family, xs, strict=True)], fullgraph=True)
    samples = compiled(rows)
    sum((sample @ COST).square().sum() for sample in samples).backward()
    for estimator, sample, logits in zip(family, samples, rows, strict=True):
        check_traced(estimator, sample, logits, 0.6, COST)


@each_pathwise
def test_vmap_over_a_batch(estimator: Estimator) -> None:
    torch.manual_seed(50)
    logits = leaf(ROW.expand(20_000, 4))
    sample = torch.func.vmap(lambda row: estimator(row, 0.6), randomness="different")(logits)
    (sample @ COST).square().sum().backward()
    check_traced(estimator, sample, logits, 0.6, COST)


@each_pathwise
def test_gradients_of_examples(estimator: Estimator) -> None:
    """vmap(grad(f)): one gradient an example."""
    torch.manual_seed(51)

    def loss(row: Tensor) -> tuple[Tensor, Tensor]:
        sample = estimator(row, 0.6)
        return (sample @ COST).square(), sample

    logits = ROW.expand(20_000, 4).clone()
    grad, sample = torch.func.vmap(torch.func.grad(loss, has_aux=True), randomness="different")(logits)
    logits.grad = grad
    check_traced(estimator, sample, logits, 0.6, COST)


class Layers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(RelaxedCategorical(estimator) for estimator in PATHWISE)

    def forward(self, logits: Tensor) -> list[Tensor]:
        return [layer(logits) for layer in self.layers]


def test_exported_with_any_batch() -> None:
    """As training and `relaxed(model)` call them."""
    program = torch.export.export(
        Layers(), (torch.zeros(3, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    ).module()
    for batch in (1, 500):
        for estimator, sample in zip(PATHWISE, program(torch.zeros(batch, 4)), strict=True):
            torch.testing.assert_close(sample.sum(-1), torch.ones(batch))
            assert batch == 1 or estimator not in RANDOM or len(sample.argmax(-1).unique()) == 4
