"""Gumbel-softmax and Gumbel-sigmoid in float64 with gradients worked out by hand, and what their samples should follow."""

import math

import torch
from torch import Tensor


def probabilities(logits: Tensor, dim: int = -1) -> Tensor:
    """softmax in float64 of the values that the logits have in their own dtype."""
    weights = (logits.double() - logits.double().amax(dim, keepdim=True)).exp()
    return weights / weights.sum(dim, keepdim=True)


def softmax_sample(perturbed: Tensor, tau: float, cotangent: Tensor, dim: int = -1) -> tuple[Tensor, Tensor, Tensor]:
    """y = softmax(perturbed / tau), and <cotangent, y>'s gradients to `perturbed`, y (g - <y, g>) / tau, and to tau."""
    x, g = perturbed.double(), cotangent.double()
    y = probabilities(x / tau, dim)
    grad = y * (g - (y * g).sum(dim, keepdim=True)) / tau
    return y, grad, -(grad * x.masked_fill(x.isinf(), 0.0)).sum() / tau


def sigmoid_sample(perturbed: Tensor, tau: float, cotangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """y = 1 / (1 + exp(-perturbed / tau)), and <cotangent, y>'s gradients to `perturbed` and to tau."""
    x, g = perturbed.double(), cotangent.double()
    y = 1.0 / (1.0 + torch.exp(-x / tau))
    grad = g * y * (1.0 - y) / tau
    return y, grad, -(grad * x.masked_fill(x.isinf(), 0.0)).sum() / tau


def relaxed_bernoulli_cdf(y: Tensor, log_odds: float, tau: float) -> Tensor:
    """P(Y <= y) for Y = sigmoid((log_odds + Logistic) / tau), from P(Logistic <= l) = sigmoid(l)."""
    return torch.sigmoid(tau * torch.logit(y.double()) - log_odds)


def relaxed_bernoulli_gradient_moments(log_odds: float, tau: float) -> tuple[float, float]:
    """Mean and variance of dy/dlog_odds = y (1 - y) / tau, by integrating over the logistic density."""
    noise = torch.linspace(-60.0, 60.0, 2_000_001, dtype=torch.float64)
    density = torch.sigmoid(noise) * torch.sigmoid(-noise)
    x = (log_odds + noise) / tau
    gradient = torch.sigmoid(x) * torch.sigmoid(-x) / tau
    mean = float(torch.trapezoid(gradient * density, noise))
    return mean, float(torch.trapezoid(gradient.square() * density, noise)) - mean**2


def gumbel_cdf(x: float) -> float:
    return math.exp(-math.exp(-x))
