"""p-values of draws under the distribution that they should come from."""

import math
from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor


def count(draw: Callable[[int], Tensor], categories: int, draws: int, block: int) -> Tensor:
    """How often each category comes up in `draws` draws, made in blocks."""
    blocks = [draw(min(block, draws - done)) for done in range(0, draws, block)]
    return torch.stack([indices.bincount(minlength=categories) for indices in blocks]).sum(0)


def chi_square_p(counts: Tensor, probabilities: Tensor) -> float:
    """Pearson's test; categories expected less than ten times are pooled. A forbidden category that came up gives 0."""
    expected = probabilities.double() * float(counts.sum())
    if counts[expected == 0].any():
        return 0.0
    rare = expected < 10
    seen = torch.cat([counts[~rare].double(), counts[rare].sum().double()[None]])
    wanted = torch.cat([expected[~rare], expected[rare].sum()[None]])
    seen, wanted = seen[wanted > 0], wanted[wanted > 0]
    statistic = float(((seen - wanted) ** 2 / wanted).sum())
    return float(stats.chi2.sf(statistic, len(wanted) - 1))


def same_p(first: Tensor, second: Tensor) -> float:
    """Whether two rows of counts come from one distribution."""
    return float(stats.chi2_contingency(torch.stack([first, second]).numpy()).pvalue)


def uniform_p(values: Tensor) -> float:
    """Kolmogorov and Smirnov's test of values that should be uniform in [0, 1]: pass cdf(samples)."""
    return float(stats.kstest(values.double().numpy(), "uniform").pvalue)


def sigmas(successes: float, trials: int, probability: float) -> float:
    """How far a binomial count is from its mean, in standard deviations."""
    return abs(successes - trials * probability) / math.sqrt(trials * probability * (1 - probability))
