"""Exchanges of single columns, by the leave-one-out error of kernel ridge regression.

    K_ij = exp(-|x_i - x_j|^2 / k) over the k chosen columns;   A = (K + lambda I)^-1
    residual of row i, which is left out = (A Y)_i / A_ii                        (Allen 1974; Golub, Heath & Wahba 1979)

Gates find which columns matter, also those that do so only together. Among columns that say nearly the same their order is
nearly arbitrary. There an exact error of a smooth model decides: a chosen column is exchanged for another one where this makes
the error smaller, until no exchange does. lambda = max(1, k / 5): more columns fit better by chance.
"""

import torch
from torch import Tensor

_ROWS = 400  # that are looked at: the work grows with their third power
_CHUNK = 32  # kernels at once
_TRIALS = 4000  # columns that are tried in all


def exchanged(
    x: Tensor, y: Tensor, chosen: list[int], candidates: list[int], ridge: float | None = None, trials: int = _TRIALS
) -> list[int]:
    """The chosen columns after exchanges, each of which lowers the leave-one-out error.

    Args:
        x: standardised columns, float32 (n, D); of more than 400 rows the first 400 count: shuffle them.
        y: centred targets, float32 (n, O).
        chosen: k columns.
        candidates: columns that may be chosen instead.
        ridge: lambda, > 0; None is max(1, k / 5).
        trials: most columns that are tried.

    Returns:
        k columns; those that stay keep their places.

    Example:
        >>> x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
        >>> exchanged(x, x[:, 2:3] ** 2, [0], [0, 1, 2, 3])
        [2]
    """
    x, y = x[:_ROWS], y[:_ROWS]
    current = list(chosen)
    others = [each for each in candidates if each not in current]
    if not others:
        return current
    ridge = max(1.0, len(current) / 5) if ridge is None else ridge
    error = _errors(x, y, current[:-1], [current[-1]], ridge)[0]
    used, improved = 0, True
    while improved and used < trials:
        improved = False
        for place in _by_loss(x, y, current, ridge):
            kept = current[:place] + current[place + 1 :]
            errors = _errors(x, y, kept, others, ridge)
            used += len(others)
            best = int(errors.mean(1).argmin())
            gain = error - errors[best]
            if gain.mean() > 1e-4 * error.mean():
                leaving = current[place]
                current[place], others[best], error = others[best], leaving, errors[best]
                improved = True
                break
    return current


def _by_loss(x: Tensor, y: Tensor, current: list[int], ridge: float) -> list[int]:
    """Places of the columns, that whose removal costs least first."""
    if len(current) == 1:
        return [0]
    without = [current[:i] + current[i + 1 :] for i in range(len(current))]
    losses = [float(_errors(x, y, kept[:-1], [kept[-1]], ridge).mean()) for kept in without]
    return sorted(range(len(current)), key=losses.__getitem__)


def _errors(x: Tensor, y: Tensor, kept: list[int], added: list[int], ridge: float) -> Tensor:
    """Squared leave-one-out errors of each row, (len(added), n), of the kept columns and one of `added` each."""
    base = _distances(x[:, kept]).sum(0) if kept else torch.zeros(len(x), len(x))
    eye = ridge * torch.eye(len(x))
    found = []
    for part in torch.tensor(added).split(_CHUNK):
        kernels = torch.exp(-(base + _distances(x[:, part])) / (len(kept) + 1)) + eye
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernels))
        residuals = (inverse @ y) / inverse.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
        found.append(residuals.square().sum(-1))
    return torch.cat(found)


def _distances(columns: Tensor) -> Tensor:
    """Squared differences of the rows in each column: (n, c) to (c, n, n)."""
    values = columns.T
    return (values.unsqueeze(-1) - values.unsqueeze(-2)).square()
