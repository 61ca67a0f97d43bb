"""One layer of paired units by FISTA (Beck & Teboulle 2009, https://doi.org/10.1137/080716542), many penalties at once.

    f(x, k) = c + sum_j sum_r  b_jr phi_r(x_j) + b~_jr phi_r(k_j),    min loss + lambda sum m_r (|b_jr| + |b~_jr|)

phi_1 is the column itself and phi_2 its square, for effects that a line does not see; curves must pay on rows held
out, so that they cost a linear problem little. Everything is convex and starts at 0: nothing tells x_j from k_j but
the data.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.selection._target import Target

_LAMBDAS = (1.0, 0.8, 0.63, 0.5, 0.4, 0.32, 0.25, 0.2)  # times scale * sqrt(log(2 D) / n), what noise alone reaches
_CURVE_FACTORS = (1.0, 2.5)
_STEPS = 150
_CLIP = 3.0  # standard deviations: squares of outliers would be all that phi_2 holds


@dataclass(frozen=True)
class UnitsFit:
    """The fit with the smallest loss on the rows held out.

    Attributes:
        outputs: (F, n, C) of each fold's fit.
        importance: (F, 2, D), root of the mean squared derivative in each column and in its knockoff.
        slopes: (F, C, 2, D), coefficients of the columns themselves.
        loss: mean loss of a row that is held out.
        penalty: lambda.
    """

    outputs: Tensor
    importance: Tensor
    slopes: Tensor
    loss: float
    penalty: float


def fit_units(columns: Tensor, target: Target, train: Tensor, gain: float) -> UnitsFit:
    """Fits all penalties on all folds, and chooses the penalty.

    Args:
        columns: (n, 2, D), the standardised columns and knockoffs.
        target: what to predict.
        train: (F, n), 1 for the rows that a fold trains on; the last row is all ones, a fit on everything.
        gain: part by which curves must lower the loss on rows held out.
    """
    n, _, d = columns.shape
    flat = columns.reshape(n, 2 * d)
    clipped = flat.clamp(-_CLIP, _CLIP)
    spread = clipped.square().std(dim=0, correction=0).clamp(min=1e-6)  # a column of +1 and -1 has no curve
    curve = (clipped.square() - clipped.square().mean(dim=0)) / spread
    base = target.scale * math.sqrt(math.log(2 * d) / n)
    lines = _Fits(flat, target, train, [base * c for c in _LAMBDAS], torch.ones(1, 2 * d))
    factors = torch.tensor([[1.0] * (2 * d) + [factor] * (2 * d) for factor in _CURVE_FACTORS])
    curved = _Fits(torch.cat([flat, curve], dim=1), target, train, [base * c for c in _LAMBDAS], factors)
    best = curved if curved.loss < (1 - gain) * lines.loss else lines
    slopes = best.coefficients[..., : 2 * d]
    squared = slopes.square()
    if best is curved:
        # E (b_1 + b_2 phi_2')^2 over the rows
        bends = best.coefficients[..., 2 * d :]
        derivative = 2 * clipped * (clipped.abs() < _CLIP) / spread
        squared = (
            squared + 2 * slopes * bends * derivative.mean(dim=0) + bends.square() * derivative.square().mean(dim=0)
        )
    importance = squared.sum(dim=1).clamp(min=0).sqrt().unflatten(-1, (2, d))
    return UnitsFit(best.outputs, importance, slopes.unflatten(-1, (2, d)), best.loss, best.penalty)


class _Fits:
    """All folds, penalties and factors in one batch; keeps those of the penalty that is best on the rows held out."""

    def __init__(self, phi: Tensor, target: Target, train: Tensor, lambdas: list[float], factors: Tensor) -> None:
        n, units = phi.shape
        folds, outputs = len(train), target.values.shape[1]
        penalties = (torch.tensor(lambdas)[:, None, None] * factors).reshape(-1, 1, units)
        trials = len(penalties)
        weights = (train / train.sum(dim=1, keepdim=True)).repeat_interleave(trials, 0)[..., None]
        threshold = penalties.repeat(folds, 1, 1)
        step = 1 / (1.25 * target.curvature * float(torch.linalg.matrix_norm(phi, 2)) ** 2 / n + 0.1)
        b = torch.zeros(folds * trials, outputs, units)
        ahead, constant, momentum = b, torch.zeros(folds * trials, 1, outputs), 1.0

        def of(b: Tensor) -> Tensor:
            return (b.view(-1, units) @ phi.T).view(-1, outputs, n).transpose(1, 2) + constant

        for _ in range(_STEPS):
            gradient = target.residual(of(ahead)) * weights
            constant = constant - gradient.sum(dim=1, keepdim=True)
            moved = ahead - step * (gradient.transpose(1, 2).reshape(-1, n) @ phi).view(b.shape)
            shrunk = moved.sign() * (moved.abs() - step * threshold).clamp(min=0)
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead = shrunk + (momentum - 1) / following * (shrunk - b)
            b, momentum = shrunk, following
        outputs_of_all = of(b)
        losses = target.loss(outputs_of_all).view(folds, trials, n)
        held_out = (losses * (1 - train)[:, None]).sum(dim=(0, 2)) / n
        chosen = int(held_out.argmin())
        self.loss = float(held_out[chosen])
        self.penalty = lambdas[chosen // len(factors)]
        self.coefficients = b.view(folds, trials, outputs, units)[:, chosen]
        self.outputs = outputs_of_all.view(folds, trials, n, outputs)[:, chosen]
