"""Gradient estimators in float64, from the formulas in the papers, and expectations by enumerating every outcome."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from discrete_lightning.estimators import Estimator, GappedStraightThrough, ReinMax, StraightThrough
from tests.references.gumbel import probabilities

Function = Callable[[Tensor], Tensor]


def one_hot_samples(latents: int, categories: int) -> Tensor:
    """All samples of `latents` one-hot vectors: (categories ** latents, latents, categories)."""
    combinations = list(itertools.product(range(categories), repeat=latents))
    return torch.nn.functional.one_hot(torch.tensor(combinations), categories).double()


def bits(count: int) -> Tensor:
    """All samples of `count` binary variables: (2 ** count, count)."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=count)), dtype=torch.float64)


def probability_of(samples: Tensor, logits: Tensor, binary: bool) -> Tensor:
    """Of each sample, a product over its independent latents; differentiable."""
    x = logits.double()
    if binary:
        p = 1 / (1 + torch.exp(-x))
        return (samples * p + (1 - samples) * (1 - p)).prod(-1)
    weights = torch.exp(x)
    return (samples * (weights / weights.sum(-1, keepdim=True))).sum(-1).prod(-1)


def exact_gradient(function: Function, logits: Tensor, binary: bool = False) -> Tensor:
    """d/dlogits of sum_D p(D) f(D)."""
    x = logits.detach().double().requires_grad_()
    samples = bits(len(x)) if binary else one_hot_samples(*x.shape)
    expectation = (probability_of(samples, x, binary) * function(samples)).sum()
    return torch.autograd.grad(expectation, x)[0]


def cotangents(function: Function, samples: Tensor) -> Tensor:
    """df/dD at each sample."""
    x = samples.double().detach().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


def mean_over_samples(function: Function, logits: Tensor, draw_logits: Tensor, rule: Function) -> Tensor:
    """sum_D p(D) rule(D, df/dD): the mean of an estimator whose gradient is a function of the sample only."""
    samples = one_hot_samples(*logits.shape)
    weights = probability_of(samples, draw_logits, binary=False)
    return (weights.view(-1, 1, 1) * rule(samples, cotangents(function, samples))).sum(0)


def jacobian_product(q: Tensor, g: Tensor) -> Tensor:
    """J(q) g for J(q) = diag(q) - q q^T."""
    matrix = torch.diag_embed(q) - q.unsqueeze(-1) * q.unsqueeze(-2)
    return (matrix @ g.unsqueeze(-1)).squeeze(-1)


def straight_through(logits: Tensor, tau: float, g: Tensor) -> Tensor:
    return jacobian_product(probabilities(logits.double() / tau), g.double()) / tau


def reinmax(logits: Tensor, sample: Tensor, tau: float, g: Tensor) -> Tensor:
    p, p_tau = probabilities(logits), probabilities(logits.double() / tau)
    middle = (p_tau + sample.double()) / 2
    return 2 * jacobian_product(middle, g.double()) - jacobian_product(p, g.double()) / 2


def gapped_logits(logits: Tensor, sample: Tensor, gap: float) -> Tensor:
    """The shifted logits of the backward pass: the chosen one at the maximum, the others at least `gap` below it."""
    x = logits.double()
    best = x.amax(-1, keepdim=True)
    return torch.where(sample.bool(), best, torch.minimum(x, best - gap))


def gapped(logits: Tensor, sample: Tensor, tau: float, gap: float, g: Tensor) -> Tensor:
    return straight_through(gapped_logits(logits, sample, gap), tau, g)


def gradient_to_tau(z: Tensor, tau: float, g: Tensor) -> float:
    """d/dtau of sum <g, softmax(z / tau)>, by autograd."""
    t = torch.tensor(tau, dtype=torch.float64, requires_grad=True)
    loss = (torch.softmax(z.double().clamp_min(-1e30) / t, -1) * g.double()).sum()
    return float(torch.autograd.grad(loss, t)[0])


def gumbel_rao(z: Tensor, tau: float, g: Tensor) -> tuple[Tensor, float]:
    """Mean over the conditional noises z, shape (samples, N, K), one by one: gradients to the logits and to tau."""
    to_logits = torch.stack([straight_through(noisy, tau, g) for noisy in z]).mean(0)
    return to_logits, sum(gradient_to_tau(noisy, tau, g) for noisy in z) / len(z)


def midpoint(logits: Tensor, sample: Tensor) -> Tensor:
    return (probabilities(logits) + sample.double()) / 2


def reinmax_rao(logits: Tensor, z: Tensor, tau: float, g: Tensor) -> Tensor:
    """Given the conditional noises z, shape (samples, N, K)."""
    return 2 * gumbel_rao(z, tau, g)[0] - jacobian_product(probabilities(logits), g.double()) / 2


def straight_through_gumbel_of_two(log_odds: float, tau: float, slope_at_0: float, slope_at_1: float) -> float:
    """E[f'(b) dy/dlog_odds], b = 1[log_odds + L > 0], y = sigmoid((log_odds + L) / tau), over logistic noise L."""
    x = torch.linspace(-60.0, 60.0, 2_000_001, dtype=torch.float64)  # log_odds + L: the kink at 0 is a grid point
    density = torch.sigmoid(x - log_odds) * torch.sigmoid(log_odds - x)
    slope = torch.where(x > 0, slope_at_1, slope_at_0)
    return float(torch.trapezoid(density * slope * torch.sigmoid(x / tau) * torch.sigmoid(-x / tau) / tau, x))


def leave_one_out(losses: list[float], scores: list[list[float]]) -> list[float]:
    """1/m sum_i (f_i - mean of the others) grad log p(D_i), sample by sample; `scores` holds the grad log p(D_i)."""
    m, total = len(losses), [0.0] * len(scores[0])
    for i, loss in enumerate(losses):
        baseline = sum(losses[:i] + losses[i + 1 :]) / (m - 1)
        total = [t + (loss - baseline) * s / m for t, s in zip(total, scores[i], strict=True)]
    return total


def disarm(
    first_loss: float, second_loss: float, first: list[int], second: list[int], logits: list[float]
) -> list[float]:
    """(f(b) - f(b')) / 2 * (-1)^b' * 1[b != b'] * sigmoid(|logit|), latent by latent."""
    return [
        (first_loss - second_loss) / 2 * (-1) ** b2 * (b1 != b2) / (1 + math.exp(-abs(logit)))
        for b1, b2, logit in zip(first, second, logits, strict=True)
    ]


def assert_mean(draws: Tensor, mean: Tensor | float) -> None:
    """Each coordinate of the mean over rows within 5 standard errors (and float32's rounding)."""
    x = draws.double()
    error = (x.mean(0) - mean).abs()
    allowed = 5 * x.std(0) / math.sqrt(len(x)) + 2e-6
    assert (error <= allowed).all(), f"errors of {(error / allowed * 5).tolist()} sigma"


def given_the_sample(estimator: Estimator, logits: Tensor, sample: Tensor, tau: float, g: Tensor) -> Tensor:
    """The gradient of the estimators that need only the sample, in float64."""
    if isinstance(estimator, StraightThrough):
        return straight_through(logits, tau if estimator.backward_tau is None else estimator.backward_tau, g)
    if isinstance(estimator, GappedStraightThrough):
        return gapped(logits, sample, tau, estimator.gap, g)
    assert isinstance(estimator, ReinMax)
    return reinmax(logits, sample, tau, g)
