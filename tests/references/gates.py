"""Gates in float64, from the formulas of the papers, one number at a time."""

import math
from collections.abc import Callable

from scipy import stats
from torch import Tensor


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def hard_concrete_cdf(z: float, log_alpha: float, beta: float, gamma: float, zeta: float) -> float:
    """P(Z <= z) for z in [0, 1): P(s <= q) = P(logit u <= beta logit q - log_alpha), q = (z - gamma) / (zeta - gamma)."""
    q = (z - gamma) / (zeta - gamma)
    return sigmoid(beta * math.log(q / (1 - q)) - log_alpha)


def hard_concrete_open(log_alpha: float, beta: float, gamma: float, zeta: float) -> float:
    return 1 - hard_concrete_cdf(0.0, log_alpha, beta, gamma, zeta)


def stochastic_gate_cdf(z: float, mu: float, sigma: float) -> float:
    """P(Z <= z) for z in [0, 1)."""
    return float(stats.norm.cdf((z - mu) / sigma))


def slope(function: Callable[[float], float], x: float, step: float = 1e-5) -> float:
    """The derivative, by central differences."""
    return (function(x + step) - function(x - step)) / (2 * step)


def ascend(
    expected: list[float], targets: list[float], integral: float, proportional: float, most: float, least: float = 0.0
) -> tuple[list[float], list[float]]:
    """(weights, multipliers) of a controller that saw these expected costs and targets, step by step."""
    multiplier, weights, multipliers = 0.0, [], []
    for cost, target in zip(expected, targets, strict=True):
        error = (cost - target) / target
        weights.append(min(most, max(least, multiplier + proportional * error)))
        multiplier = min(most, max(least, multiplier + integral * error))
        multipliers.append(multiplier)
    return weights, multipliers


def placed(z: Tensor, x: Tensor, dim: int, width: int) -> Tensor:
    """x with the entries of each gate multiplied, one slice at a time: z is (D,) or (rows, D)."""
    result = x.clone()
    size = z.shape[-1]
    for gate in range(size):
        for entry in range(gate * width, (gate + 1) * width):
            part = result.select(dim, entry)
            if z.ndim == 1:
                part.mul_(z[gate])
            else:
                for row in range(len(z)):
                    part[row].mul_(z[row, gate])
    return result
