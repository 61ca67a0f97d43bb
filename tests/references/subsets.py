"""Draws of k of K in float64, by enumerating every order (Plackett-Luce) or every subset (conditional Bernoulli)."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor


def orders(categories: int, k: int) -> Tensor:
    """All draws: (K! / (K - k)!, k)."""
    return torch.tensor(list(itertools.permutations(range(categories), k)))


def k_hot(order: Tensor, categories: int) -> Tensor:
    """float64 (N, K)."""
    return torch.zeros(len(order), categories, dtype=torch.float64).scatter(-1, order, 1.0)


def subsets(categories: int, k: int) -> Tensor:
    """All k-hot vectors: (C(K, k), K)."""
    return k_hot(torch.tensor(list(itertools.combinations(range(categories), k))), categories)


def order_log_probability(logits: Tensor, order: Tensor) -> Tensor:
    """log prod_j softmax(logits without b_1, ..., b_{j-1})[b_j], draw by draw; differentiable."""
    left, total = logits.double().expand(len(order), -1), torch.zeros(len(order), dtype=torch.float64)
    for j in range(order.shape[1]):
        drawn = order[:, j : j + 1]
        total = total + left.gather(1, drawn)[:, 0] - left.logsumexp(1)
        left = left.scatter(1, drawn, -math.inf)
    return total


def order_probability(logits: Tensor, order: Tensor) -> Tensor:
    return order_log_probability(logits, order).exp()


def subset_log_probability(logits: Tensor, samples: Tensor) -> Tensor:
    """Of each k-hot sample (N, K): the sum over its orders; differentiable."""
    every = orders(logits.shape[-1], int(samples[0].sum()))
    code = 2.0 ** torch.arange(logits.shape[-1], dtype=torch.float64)
    same = (samples.double() @ code).unsqueeze(1) == k_hot(every, logits.shape[-1]) @ code
    return order_log_probability(logits, every).expand(len(same), -1)[same].view(len(same), -1).logsumexp(1)


def log_elementary_symmetric(logits: Tensor, k: int) -> Tensor:
    """log e_k of logits (K,), by enumerating every subset; differentiable."""
    return (subsets(len(logits), k) @ logits.double()).logsumexp(0)


def conditional_bernoulli_log_probability(logits: Tensor, samples: Tensor) -> Tensor:
    """Of each k-hot sample (N, K); differentiable."""
    return samples.double() @ logits.double() - log_elementary_symmetric(logits, int(samples[0].sum()))


LOG_PROBABILITY = {
    "plackett_luce": subset_log_probability,
    "conditional_bernoulli": conditional_bernoulli_log_probability,
}


def exact_gradient(function: Callable[[Tensor], Tensor], logits: Tensor, k: int) -> Tensor:
    """d/dlogits of E[f(S)]."""
    x = logits.detach().double().requires_grad_()
    every = orders(len(x), k)
    return torch.autograd.grad((order_probability(x, every) * function(k_hot(every, len(x)))).sum(), x)[0]


def counts(samples: Tensor, k: int) -> Tensor:
    """How often each of `subsets(K, k)` comes up in k-hot samples (N, K)."""
    code = 2.0 ** torch.arange(samples.shape[-1], dtype=torch.float64)
    return torch.stack([(samples.double() @ code == value).sum() for value in subsets(samples.shape[-1], k) @ code])


def relaxed_top_k(scores: Tensor, k: int, tau: float | Tensor) -> Tensor:
    """Xie & Ermon's recursion, without any bound."""
    a, total = scores.double(), torch.zeros_like(scores, dtype=torch.float64)
    for _ in range(k):
        p = torch.softmax(a / tau, -1)
        total, a = total + p, a + torch.log1p(-p)
    return total


def polynomial(degree: int, categories: int) -> Callable[[Tensor], Tensor]:
    """A polynomial of that degree of samples (..., K), not symmetric in anything."""
    generator = torch.Generator().manual_seed(categories)
    linear, cubic = torch.randn(2, categories, generator=generator, dtype=torch.float64)
    square = torch.randn(categories, categories, generator=generator, dtype=torch.float64) / 2

    def function(sample: Tensor) -> Tensor:
        x = sample
        result = x @ linear.to(x.dtype)
        if degree >= 2:
            result = result + ((x @ square.to(x.dtype)) * x).sum(-1)
        if degree >= 3:
            result = result + (x @ cubic.to(x.dtype)) ** 3
        return result

    return function


def log_binomial(n: int, k: int) -> float:
    return math.log(math.comb(n, k))
