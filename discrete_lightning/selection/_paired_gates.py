"""Paired gates before an MLP (DeepPINK, Lu et al. 2018, https://arxiv.org/abs/1809.01185), on top of an additive fit.

    p_j = z_j x_j + z~_j k_j,    f = f_0 + W_2 tanh(W_1 p + c)

The gates start at the slopes of f_0 plus one constant and W_2 at 0, so the start is f_0 itself, and swapping x_j and
k_j swaps the gates alone.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.selection._paired_units import UnitsFit
from discrete_lightning.selection._target import Target

_FACTORS = (1.0, 4.0)  # penalties of the gates, times that of the units
_CHECKS = 8
_LEARNING_RATE = 0.01
_WEIGHT_DECAY = 0.1


@dataclass(frozen=True)
class GatesFit:
    """The fit with the smallest loss on the rows held out, over penalties and steps.

    Attributes:
        importance: (F, 2, D), |gate| times the root of the mean squared derivative of the MLP in the pair.
        loss: mean loss of a row that is held out.
    """

    importance: Tensor
    loss: float


def fit_gates(
    columns: Tensor, target: Target, train: Tensor, start: UnitsFit, hidden: int, steps: int, generator: torch.Generator
) -> GatesFit:
    """Trains the gates and the MLP on all folds and penalties at once.

    Args:
        columns: (n, 2, D), the standardised columns and knockoffs.
        target: what to predict.
        train: (F, n), 1 for the rows that a fold trains on.
        start: the additive fit.
        hidden: units of the MLP.
        steps: of AdamW, each on all rows.
        generator: of the initial weights.
    """
    n, _, d = columns.shape
    folds, trials, outputs = len(train), len(_FACTORS), target.values.shape[1]
    x, k = columns[:, 0], columns[:, 1]
    base = start.outputs.repeat_interleave(trials, 0)
    # sum over outputs: one gate for a pair; divided by its spread, so that tanh is neither flat nor a line
    slopes = start.slopes.sum(dim=1)
    spread = (columns.reshape(n, -1) @ slopes.reshape(folds, -1).T).std(dim=0).clamp(min=0.1)
    gates = (slopes / spread[:, None, None] + 0.3 / math.sqrt(d)).repeat_interleave(trials, 0)
    first = torch.randn(1, hidden, generator=generator) + torch.randn(d, hidden, generator=generator)
    bias = torch.randn(1, hidden, generator=generator)
    first, bias = (each.expand(folds * trials, -1, -1).clone() for each in (first, bias))
    last = torch.zeros(folds * trials, hidden, outputs)
    for each in (gates, first, bias, last):
        each.requires_grad_()
    optimizer = torch.optim.AdamW(
        [{"params": [first, last], "weight_decay": _WEIGHT_DECAY}, {"params": [gates, bias], "weight_decay": 0.0}],
        lr=_LEARNING_RATE,
        betas=(0.9, 0.99),
    )
    held = (1 - train).repeat_interleave(trials, 0)
    weights = (train / train.sum(dim=1, keepdim=True)).repeat_interleave(trials, 0)
    penalties = start.penalty * torch.tensor(_FACTORS).repeat(folds)

    def forward() -> tuple[Tensor, Tensor]:
        pairs = x * gates[:, :1] + k * gates[:, 1:]
        activity = torch.tanh(torch.baddbmm(bias, pairs, first))
        return base + activity @ last, activity

    best = GatesFit(torch.zeros(folds, 2, d), math.inf)
    every = max(1, steps // _CHECKS)
    for step in range(steps + 1):
        result, activity = forward()
        losses = target.loss(result)
        if step and (step % every == 0 or step == steps):
            with torch.no_grad():
                held_out = (losses * held).view(folds, trials, n).sum(dim=(0, 2)) / n
                chosen = int(held_out.argmin())
                if float(held_out[chosen]) < best.loss:
                    parts = (each.unflatten(0, (folds, trials))[:, chosen] for each in (gates, first, last, activity))
                    best = GatesFit(_importance(*parts), float(held_out[chosen]))
        if step < steps:
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = _LEARNING_RATE * (1 - step / steps)
            optimizer.zero_grad()
            total = (losses * weights).sum() + (penalties * gates.abs().sum(dim=(1, 2))).sum()
            total.backward()
            optimizer.step()
    return best


def _importance(gates: Tensor, first: Tensor, last: Tensor, activity: Tensor) -> Tensor:
    """|gate| sqrt(mean over rows of the sum over outputs of squared derivatives in the pair)."""
    slope = 1 - activity.square()  # (F, n, H)
    # sum_c E[(sum_h W1_jh s_h W2_hc)^2] = W1 (E[s s^T] * W2 W2^T) W1^T
    moments = (slope.transpose(1, 2) @ slope) / activity.shape[1] * (last @ last.transpose(1, 2))
    squared = ((first @ moments) * first).sum(dim=2).clamp(min=0)  # (F, D)
    return gates.abs() * squared.sqrt()[:, None]
