"""alpha-entmax against bisection in float64 with autograd; sums over its support against enumeration. Intervals of 5 sigma."""

import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import Entmax, Estimator, IndeCateR, Sparsemax
from discrete_lightning.functional import entmax, log_probability
from discrete_lightning.models import BernoulliVAE, CategoricalVAE
from discrete_lightning.nas import OneOf
from discrete_lightning.nn import RelaxedBernoulli, RelaxedCategorical, RelaxedSubset
from discrete_lightning.routing import SampledRouter
from discrete_lightning.selection import Gate, SelectK
from tests.estimators.test_means import ODDS, ROWS, of_bits, of_categories
from tests.references import estimators as reference
from tests.references.entmax import entmax as naive
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import leaf, seeded

SPARSE: list[Estimator] = [Sparsemax(), Entmax(), Entmax(alpha=1.2), Entmax(samples=3, chunk=2)]
each_sparse = pytest.mark.parametrize("estimator", SPARSE, ids=repr)
ALPHAS = [1.1, 1.5, 1.8, 2.0]


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("categories", [1, 2, 5, 300])
def test_values_and_gradients(categories: int, dtype: torch.dtype, alpha: float) -> None:
    logits = leaf(2 * torch.randn(20, categories, generator=seeded(1)), dtype)
    g = torch.randn(20, categories, generator=seeded(2)).to(dtype)
    p = entmax(logits, alpha)
    assert p.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    p.backward(g.to(p.dtype))
    exact, gradient = naive(logits.detach().double(), alpha, g.double())
    rounding = {torch.float64: 1e-9, torch.float32: 3e-6, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(p.double(), exact, rtol=0, atol=min(rounding, 1e-5))
    torch.testing.assert_close(logits.grad.double(), gradient, rtol=rounding, atol=rounding)
    assert ((p > 0).sum(-1) <= categories).all()


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_huge_logits_and_masks(dtype: torch.dtype, alpha: float) -> None:
    rows = [[1e4, -1e4, 1e4, -math.inf], [-1e4, -math.inf, 0.0, -math.inf], [0.0, 0.0, 0.0, 0.0]]
    logits = leaf(rows, dtype)
    p = entmax(logits, alpha)
    wanted = torch.tensor([[0.5, 0, 0.5, 0], [0, 0, 1, 0], [0.25] * 4], dtype=p.dtype)
    torch.testing.assert_close(p, wanted)
    (p @ torch.arange(4, dtype=p.dtype)).sum().backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[p == 0].any()


def test_bad_input() -> None:
    for alpha in (1.0, 0.5, 2.1, math.nan):
        with pytest.raises(ValueError, match=r"alpha must lie in \(1, 2\]"):
            entmax(torch.zeros(3), alpha)
        with pytest.raises(ValueError, match=r"alpha must lie in \(1, 2\]"):
            Entmax(alpha=alpha)
    for kind in (Sparsemax, Entmax):
        with pytest.raises(ValueError, match=rf"{kind.__name__}: samples and chunk must be at least 1, got samples=0"):
            kind(samples=0)


def exact_gradient(estimator: Estimator, function: reference.Function, logits: Tensor, binary: bool) -> Tensor:
    """By all outcomes, with probabilities of the reference; its Jacobian by columns."""
    alpha = estimator.alpha if isinstance(estimator, Entmax) else 2.0
    x = logits.double()
    rows = torch.stack([x, torch.zeros_like(x)], -1) if binary else x
    samples = reference.bits(len(x)) if binary else reference.one_hot_samples(*x.shape)
    one_hot = torch.stack([samples, 1 - samples], -1) if binary else samples
    p = naive(rows, alpha, torch.zeros_like(rows))[0].requires_grad_()
    mean = ((one_hot * p).sum(-1).prod(-1) * function(samples)).sum()
    (slope,) = torch.autograd.grad(mean, p)
    gradient = naive(rows, alpha, slope)[1]
    return gradient[..., 0] if binary else gradient


@each_sparse
@pytest.mark.parametrize("row", [ROWS, ODDS / 2], ids=["categorical", "bernoulli"])
def test_no_bias(estimator: Estimator, row: Tensor) -> None:
    binary = row.ndim == 1
    function = of_bits(3) if binary else of_categories(3)
    logits = leaf(row.expand(20_000, *row.shape))
    estimator.expectation(function, logits, 1.0, seeded(3), binary=binary).sum().backward()
    reference.assert_mean(logits.grad, exact_gradient(estimator, function, row, binary))


@each_sparse
def test_one_variable_is_summed_without_noise(estimator: Estimator) -> None:
    row, cost = torch.tensor([[0.4, 0.0, -2.0, 0.3]]), torch.tensor([1.0, -2.0, 30.0, 0.5], dtype=torch.float64)
    found = []
    for seed in (4, 5):
        logits = leaf(row)
        estimator.expectation(lambda sample: sample @ cost.to(sample.dtype), logits, 1.0, seeded(seed)).sum().backward()
        found.append(logits.grad)
    torch.testing.assert_close(found[0], found[1])
    exact = exact_gradient(estimator, lambda sample: (sample @ cost).sum(-1), row, False)
    torch.testing.assert_close(found[0].double(), exact, rtol=1e-4, atol=1e-5)


def test_the_function_is_evaluated_for_the_support_alone() -> None:
    logits = leaf(torch.randn(10, 2, 50, generator=seeded(6)) * 3)
    support = (entmax(logits.detach(), 2.0) > 0).sum(-1).amax(0)
    shown = []

    def function(sample: Tensor) -> Tensor:
        shown.append(sample.shape[:-3].numel())
        return sample.flatten(-2) @ torch.arange(100.0)

    Sparsemax().expectation(function, logits, generator=seeded(7)).sum().backward()
    assert sum(shown) == 1 + int((support - 1).sum())
    assert sum(shown) < Sparsemax().evaluations((2, 50)) / 5


@each_sparse
@pytest.mark.parametrize("binary", [False, True])
def test_scores_are_the_distribution(estimator: Estimator, binary: bool) -> None:
    """Of what the layer draws in evaluation, and of the VAE's probabilities; with finite gradients."""
    row = torch.tensor([0.6, 0.0, -0.5, -5.0])
    logits = leaf(row.expand(20_000, 4))
    scores = estimator.scores(logits, binary=binary)
    p = torch.sigmoid(scores) if binary else torch.softmax(scores, -1)
    (p * torch.arange(4.0)).sum().backward()
    assert logits.grad.isfinite().all()
    kind = RelaxedBernoulli if binary else RelaxedCategorical
    draws = kind(estimator, evaluation="draw").eval()(logits.detach(), seeded(8))
    assert draws.dtype == logits.dtype
    if binary:
        assert not draws[:, p[0] == 0].any()
        error = (draws.mean(0) - p[0]).abs()
        assert (error <= 5 * (p[0] * (1 - p[0]) / 20_000).sqrt() + 1e-6).all()
    else:
        inside = p[0] > 0
        assert not draws[:, ~inside].any()
        assert chi_square_p(draws.sum(0)[inside].long(), p[0, inside].detach().double()) > 1e-4


@each_sparse
@pytest.mark.parametrize("kind", [CategoricalVAE, BernoulliVAE])
def test_a_vae_has_the_kl_and_the_bound_of_its_own_distribution(
    kind: type[CategoricalVAE] | type[BernoulliVAE], estimator: Estimator
) -> None:
    torch.manual_seed(0)
    sizes = {"latents": 2, "categories": 3} if kind is CategoricalVAE else {"latents": 4}
    model = kind(**sizes, estimator=estimator, hidden=[8], pixels=16)
    images = torch.rand(5, 1, 4, 4, generator=seeded(9)).round()
    logits = 3 * model.logits(images)
    binary = kind is BernoulliVAE
    samples = (reference.bits(4) if binary else reference.one_hot_samples(2, 3)).float().unsqueeze(1)
    samples = samples.expand(-1, 5, *logits.shape[1:])
    scores = estimator.scores(logits, binary=binary)
    log_q = log_probability(scores, samples, binary=binary).flatten(2).sum(2)
    log_ratio = model.log_ratio(samples, logits)
    torch.testing.assert_close(
        torch.where(log_q.isneginf(), 0.0, log_ratio), torch.where(log_q.isneginf(), 0.0, model.log_prior - log_q)
    )
    kl = (log_q.exp() * torch.where(log_q.isneginf(), 0.0, log_q - model.log_prior)).sum(0)
    torch.testing.assert_close(model.kl(logits), kl, rtol=1e-4, atol=1e-5)
    assert torch.isfinite(model.bound(images, 20)).all()
    model.kl(logits).sum().backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in model.parameters())


def test_what_cannot_honour_it_says_so() -> None:
    for build in (
        lambda: Gate(5, Sparsemax()),
        lambda: SelectK(1, 5, Entmax()),
        lambda: SampledRouter(4, 3, 1, estimator=Entmax()),
        lambda: OneOf([torch.nn.Identity(), torch.nn.ReLU()], estimator=Sparsemax()),
    ):
        with pytest.raises(
            ValueError, match=r"does not draw from softmax or sigmoid of the logits, and \w+ relies on it"
        ):
            build()
    with pytest.raises(ValueError, match=r"Sparsemax\(.*\) chooses one category, and RelaxedSubset k=2"):
        RelaxedSubset(2, Sparsemax())
    with pytest.raises(TypeError, match=r"chooses one category, not k=2: take LeaveOneOut"):
        Entmax().expectation(lambda sample: sample.sum(-1), torch.zeros(2, 3), k=2)
    assert IndeCateR().softmax
