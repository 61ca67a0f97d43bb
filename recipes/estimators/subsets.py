"""Bias and standard deviation of each estimator for subsets: 3 of 8 without replacement, against the enumerated gradient.

python recipes/estimators/subsets.py [--draws 80000]
"""

import argparse
import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from discrete_lightning import estimators
from discrete_lightning.functional import log_probability

CATEGORIES, K, CHUNKS = 8, 3, 4


def functions(generator: torch.Generator) -> dict[str, Callable[[Tensor], Tensor]]:
    linear, cubic = torch.randn(2, CATEGORIES, generator=generator)
    square = torch.randn(CATEGORIES, CATEGORIES, generator=generator) / 2

    def quadratic(x: Tensor) -> Tensor:
        return x @ linear + ((x @ square) * x).sum(-1)

    return {
        "linear": lambda x: x @ linear,
        "quadratic": quadratic,
        "cubic": lambda x: quadratic(x) + (x @ cubic) ** 3 / 3,
    }


def exact_gradient(function: Callable[[Tensor], Tensor], logits: Tensor, estimator: estimators.Estimator) -> Tensor:
    """Under the distribution that the estimator draws from."""
    chosen = torch.tensor(list(itertools.combinations(range(CATEGORIES), K)))
    subsets = torch.zeros(len(chosen), CATEGORIES).scatter(-1, chosen, 1.0)
    x = logits.clone().requires_grad_()
    log_p = log_probability(x, subsets, k=K, subsets=estimator.subsets)
    expected = (log_p.exp() * function(subsets)).sum()
    return torch.autograd.grad(expected, x)[0]


def measure(
    estimator: estimators.Estimator, function: Callable[[Tensor], Tensor], logits: Tensor, draws: int
) -> tuple[float, float]:
    """Relative bias without what noise adds to it, and relative standard deviation."""
    exact, chunks = exact_gradient(function, logits, estimator), []
    for seed in range(CHUNKS):
        x = logits.expand(draws // CHUNKS, -1).clone().requires_grad_()
        losses = estimator.expectation(function, x, 1.0, torch.Generator().manual_seed(seed), k=K)
        chunks.append(torch.autograd.grad(losses.sum(), x)[0])
    gradients = torch.cat(chunks).double()
    variance = gradients.var(0).sum()
    squared = (gradients.mean(0) - exact).square().sum() - variance / len(gradients)
    return float(squared.clamp_min(0).sqrt() / exact.norm()), float(variance.sqrt() / exact.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=80_000)
    draws = parser.parse_args().draws
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(CATEGORIES, generator=generator)
    table = functions(generator)
    print(f"{'estimator':<40}" + "".join(f"{name + ': bias':>18}{'std':>8}" for name in table))
    for name in estimators.__all__:
        estimator = getattr(estimators, name)
        if name == "Estimator" or not (estimator.categorical and estimator.chooses_subsets):
            continue
        figures = [measure(estimator(), function, logits, draws) for function in table.values()]
        print(f"{estimator()!r:<40}" + "".join(f"{bias:>18.2f}{std:>8.2f}" for bias, std in figures))


if __name__ == "__main__":
    main()
