"""Samples follow their distribution. p-values are bounded by 1e-4, intervals are 5 sigma, for seeds fixed in advance."""

import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import Estimator, StraightThrough, StraightThroughGumbel
from tests.references.every_estimator import DECOUPLED, RANDOM, SCORE, SOFT, each_random, forward_tau
from tests.references.goodness_of_fit import chi_square_p, sigmas
from tests.references.gumbel import probabilities
from tests.references.inputs import seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_half = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


def winners(estimator: Estimator, logits: Tensor, tau: float, generator: torch.Generator) -> Tensor:
    """The largest entry of a relaxed sample is an exact draw, too."""
    return estimator(logits, tau, generator).argmax(-1)


# hard samples are the same whatever tau (test_values.py), unless the temperatures are decoupled
AT_A_TAU = [(each, tau) for each in RANDOM for tau in (0.1, 10.0) if tau < 1 or each in (*SOFT, DECOUPLED)]


@pytest.mark.parametrize(("estimator", "tau"), AT_A_TAU, ids=str)
@pytest.mark.parametrize(("categories", "draws"), [(2, 500_000), (5, 200_000), (70, 100_000), (1000, 20_000)])
def test_samples_follow_the_distribution(estimator: Estimator, categories: int, draws: int, tau: float) -> None:
    """Of the logits, or of logits / tau where the temperatures are decoupled. Every fifth category is masked."""
    logits = 2 * torch.randn(categories, generator=seeded(6))
    logits[3::5] = -math.inf
    counts = winners(estimator, logits.expand(draws, categories), tau, seeded(6)).bincount(minlength=categories)
    assert chi_square_p(counts, probabilities(logits / forward_tau(estimator, tau))) > 1e-4


@pytest.mark.parametrize("estimator", [StraightThroughGumbel(), StraightThrough()], ids=repr)
@each_dtype
def test_rare_events_come_at_their_rate(estimator: Estimator, dtype: torch.dtype) -> None:
    """Twenty categories of p = 1e-5 beside a common one: about 400 events."""
    logits, generator, draws = torch.tensor([0.0] + [math.log(1e-5)] * 20).to(dtype), seeded(21), 40_000
    samples = [estimator(logits.expand(draws, 21), 0.5, generator) for _ in range(50)]
    events = 50 * draws - sum(int(sample[:, 0].sum(dtype=torch.float64)) for sample in samples)
    assert sigmas(events, 50 * draws, float(probabilities(logits)[1:].sum())) < 5


@each_random
@each_half
def test_rare_events_in_half_precision(estimator: Estimator, dtype: torch.dtype) -> None:
    """About 50 events of p = 1e-4, shared by 20 categories."""
    logits, draws = torch.tensor([0.0] + [math.log(5e-6)] * 20).to(dtype), 100_000
    generator = seeded(24)
    common = sum(int((winners(estimator, logits.expand(draws, 21), 1.0, generator) == 0).sum()) for _ in range(5))
    assert sigmas(5 * draws - common, 5 * draws, float(probabilities(logits)[1:].sum())) < 5


@pytest.mark.parametrize("estimator", [*RANDOM, *SCORE], ids=repr)
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_bernoulli_rates(estimator: Estimator, tau: float) -> None:
    seen: list[Tensor] = []

    def function(sample: Tensor) -> Tensor:
        seen.append((sample > 0.5).float().detach() if estimator in SOFT else sample.detach())
        return sample.sum(-1)

    logits = torch.tensor([-6.0, -1.3, 0.0, 2.0]).expand(100_000, 4)
    estimator.expectation(function, logits, tau, seeded(25), binary=True)
    samples = torch.cat([sample.view(-1, 100_000, 4) for sample in seen])
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    forward = forward_tau(estimator, tau)
    probabilities_of_1 = torch.sigmoid(estimator.scores(logits[0], binary=True) / forward)
    for sample in samples:  # the samples of one example are not independent with DisARM
        for rate, p in zip(sample.sum(0), probabilities_of_1, strict=True):
            certain = float(p) in (0.0, 1.0)  # of a sparse distribution
            assert rate == 100_000 * p if certain else sigmas(float(rate), 100_000, float(p)) < 5
