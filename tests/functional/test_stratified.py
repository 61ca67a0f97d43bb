"""Stratified draws: exact one by one, spread together; ReinMax of them. p-values and intervals as elsewhere: 1e-4, 5 sigma."""

import math

import pytest
import torch

from discrete_lightning.estimators import Estimator, IndeCateR, LeaveOneOut, ReinMax, StratifiedReinMax
from discrete_lightning.functional import reinmax, stratified_categorical
from tests.estimators.test_means import ROWS, gradients, of_categories
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import leaf, seeded


@pytest.mark.parametrize("samples", [1, 3, 4])
@pytest.mark.parametrize("categories", [2, 5, 70])
def test_each_draw_is_exact(samples: int, categories: int) -> None:
    p = torch.softmax(2 * torch.randn(categories, generator=seeded(1)), -1)
    p[2:3] = 0
    index = stratified_categorical(p.expand(20_000, categories), samples, generator=seeded(2))
    assert index.shape == (samples, 20_000)
    for one in index:
        assert chi_square_p(one.bincount(minlength=categories), p.double() / p.double().sum()) > 1e-4


def test_each_category_comes_as_often_as_it_should() -> None:
    p = torch.softmax(torch.randn(500, 6, generator=seeded(3)), -1)
    counts = torch.nn.functional.one_hot(stratified_categorical(p, 8, generator=seeded(4)), 6).sum(0)
    assert (counts >= (8 * p - 1e-4).floor()).all()
    assert (counts <= (8 * p + 1e-4).ceil()).all()


def test_variables_are_independent_within_a_draw() -> None:
    p = torch.tensor([0.2, 0.5, 0.3])
    index = stratified_categorical(p.expand(20_000, 2, 3), 3, generator=seeded(5))
    for one in index:
        pairs = (one[:, 0] * 3 + one[:, 1]).bincount(minlength=9)
        assert chi_square_p(pairs, torch.outer(p, p).flatten().double()) > 1e-4


def spread(estimator: Estimator, degree: int, draws: int = 5_000) -> float:
    return float(gradients(estimator, ROWS, of_categories(degree), 1.0, draws, 6).double().var(0).sum())


class Averaged(ReinMax):
    """Of four independent draws."""

    def expectation(self, function, logits, tau=1.0, generator=None, *, binary=False, k=None):  # type: ignore[no-untyped-def]
        return function(reinmax(logits.expand(4, *logits.shape), tau, generator=generator)).mean(0)


@pytest.mark.parametrize(("degree", "most"), [(1, 0.4), (2, 0.6), (3, 0.8)])
def test_less_variance_than_of_independent_draws(degree: int, most: float) -> None:
    """Measured ratios of variances: .28, .44, .60."""
    assert spread(StratifiedReinMax(4), degree) < most * spread(Averaged(), degree)


def test_one_sample_is_reinmax() -> None:
    ratio = spread(StratifiedReinMax(1), 2, 20_000) / spread(ReinMax(), 2, 20_000)
    assert ratio == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_indecater_has_less_variance_than_leave_one_out_at_equal_evaluations(degree: int) -> None:
    evaluations = IndeCateR().evaluations(ROWS.shape)
    assert evaluations == 5
    assert spread(IndeCateR(), degree) < 0.5 * spread(LeaveOneOut(evaluations), degree)


def test_indecater_is_exact_for_one_variable() -> None:
    logits = leaf(torch.randn(6, 5, generator=seeded(7)), torch.float64)
    cost = torch.randn(5, generator=seeded(8), dtype=torch.float64)
    IndeCateR(chunk=3).expectation(lambda sample: sample @ cost, logits, generator=seeded(9)).sum().backward()
    x = leaf(logits.detach(), torch.float64)
    (torch.softmax(x, -1) @ cost).sum().backward()
    torch.testing.assert_close(logits.grad, x.grad)


@pytest.mark.parametrize("kind", [{}, {"binary": True}, {"k": 2}], ids=str)
def test_chunks_do_not_matter_and_are_as_large_as_was_asked(kind: dict[str, int]) -> None:
    found = []
    for chunk in (1, 4, 100):
        logits, sizes = leaf(torch.randn(6, 3, 4, generator=seeded(10))), []

        def function(sample: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(len(sample))
            return (sample.flatten(-2) @ torch.arange(12.0)).square()

        estimator = IndeCateR(samples=2, chunk=chunk)
        estimator.expectation(function, logits, generator=seeded(11), **kind).sum().backward()  # type: ignore[arg-type]
        assert max(sizes) <= 2 * chunk
        assert sum(sizes) == estimator.evaluations((3, 4), **kind)  # type: ignore[arg-type]
        found.append(logits.grad)
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


@pytest.mark.parametrize("kind", [{}, {"k": 2}], ids=str)
def test_indecater_never_shows_what_is_masked(kind: dict[str, int]) -> None:
    inf = math.inf
    logits = leaf([[[0.3, -inf, 0.0, 1.0], [0.0, -inf, -inf, 0.5]]] * 20)
    masked = logits.detach().isneginf()

    def function(sample: torch.Tensor) -> torch.Tensor:
        assert not (sample * masked).any()
        return (sample.flatten(-2) @ torch.arange(8.0)).square()

    IndeCateR().expectation(function, logits, generator=seeded(12), **kind).sum().backward()  # type: ignore[arg-type]
    assert not logits.grad[masked].any()
    assert logits.grad.isfinite().all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        stratified_categorical(torch.ones(2, 3), 0)
