"""Importance of columns against their knockoffs (DeepPINK, Lu et al. 2018, https://arxiv.org/abs/1809.01185).

    f(x, k) = units(x, k) + MLP(p),    p_j = z_j x_j + z~_j k_j,    w_j = I(x_j) - I(k_j)

    I(x_j) = sqrt(E |d units / d x_j|^2) + |z_j| sqrt(E |d MLP / d p_j|^2)

DeepPINK has the MLP alone, and z_j^2 - z~_j^2 times the product of the weights on the paths from p_j, squared. That
product is the derivative of a linear network; the mean squared derivative is the same there, and does not cancel where
an effect changes its sign. The root ranks like coefficients of the Lasso, which had more power than their squares.
Most of the power comes from one layer of sparse units (_paired_units.py): with a few hundred rows, gates before an MLP
(_paired_gates.py) fit noise, and they count only if the loss on rows held out is lower.

Swapping x_j and k_j for a set of j changes the signs of these w_j alone (up to rounding): weights start alike for
both, each choice depends on losses, and losses do not know which is which. So `knockoff_select` controls the false
discoveries.
"""

from typing import Literal

import torch
from torch import Tensor

from discrete_lightning.selection._paired_gates import fit_gates
from discrete_lightning.selection._paired_units import fit_units
from discrete_lightning.selection._target import class_target, number_target
from discrete_lightning.selection.statistics._columns import check_table, standardized

Task = Literal["classification", "regression"]
_FOLDS = 5
_GAIN = 0.03  # part by which curves, and then the MLP, must lower the loss on rows held out: else chance picks them


def paired_importance(
    x: Tensor,
    knockoffs: Tensor,
    y: Tensor,
    task: Task = "classification",
    *,
    hidden: int = 16,
    steps: int = 100,
    seed: int = 0,
) -> Tensor:
    """How much more each column matters to a network than its knockoff.

    The fits of five folds and one on all rows are an ensemble, trained at once; folds choose the penalty. Time grows
    as n D: one to three seconds for 500 rows of 100 columns on one core.

    Args:
        x: table (n, D), floating, finite, n >= 10.
        knockoffs: (n, D), of `gaussian_knockoffs`.
        y: labels (n,) of any integer type or bool; or numbers, (n,) or (n, T).
        task: "classification" or "regression".
        hidden: units of the MLP; 0 leaves it out.
        steps: training steps of the MLP.
        seed: of the folds and the initial weights. No other randomness is used, the global generators neither.

    Returns:
        w (D,) in float32: positive where the column matters more. For `knockoff_select`.

    Raises:
        ValueError: tables that are not finite or of different shapes, a constant column, y that does not fit the task.

    Example:
        >>> from discrete_lightning.selection.statistics import gaussian_knockoffs
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.randn(200, 5, generator=generator)
        >>> k = gaussian_knockoffs(x, generator=generator)
        >>> int(paired_importance(x, k, x[:, 3] > 0).argmax())
        3
    """
    check_table("paired_importance: x", x)
    check_table("paired_importance: knockoffs", knockoffs)
    if x.shape != knockoffs.shape or len(x) != len(y) or len(x) < 2 * _FOLDS:
        raise ValueError(
            f"paired_importance needs x and knockoffs of one shape, y of as many rows, and {2 * _FOLDS} rows or "
            f"more, got {tuple(x.shape)}, {tuple(knockoffs.shape)} and {tuple(y.shape)}"
        )
    if hidden < 0 or steps < 1:
        raise ValueError(f"paired_importance needs hidden >= 0 and steps >= 1, got hidden={hidden}, steps={steps}")
    if task == "classification":
        if y.dim() != 1 or y.is_floating_point():
            raise ValueError(f"classification needs integer labels y (n,), got {y.dtype} of shape {tuple(y.shape)}")
        target = class_target(y)
    elif task == "regression":
        if y.dim() not in (1, 2) or not torch.isfinite(y).all():
            raise ValueError(
                f"regression needs finite numbers y, (n,) or (n, T), got {y.dtype} of shape {tuple(y.shape)}"
            )
        target = number_target(y)
    else:
        raise ValueError(f'task is "classification" or "regression", got {task!r}')
    tables = (standardized("paired_importance", each.detach().cpu())[0].float() for each in (x, knockoffs))
    columns = torch.stack(list(tables), dim=1)
    generator = torch.Generator().manual_seed(seed)
    fold = torch.randperm(len(x), generator=generator) % _FOLDS
    train = torch.stack(
        [fold != each for each in range(_FOLDS + 1)]
    ).float()  # no row is of the last fold: a fit on all
    with torch.no_grad():
        fit = fit_units(columns, target, train, _GAIN)
    importance = fit.importance
    if hidden:
        with torch.enable_grad():
            gated = fit_gates(columns, target, train, fit, hidden, steps, generator)
        if gated.loss < (1 - _GAIN) * fit.loss:
            importance = importance + gated.importance
    mean = (importance[:-1].mean(dim=0) + importance[-1]) / 2  # the fit on all rows weighs as much as the folds
    return mean[0] - mean[1]
