"""How far knockoffs are from their columns: s with Cov(x, knockoff) = Sigma - diag(s) and 0 < diag(s) < 2 Sigma.

    equicorrelated (Barber & Candes 2015, https://arxiv.org/abs/1404.5609):    s_j = min(1, 2 lambda_min(Sigma))
    MVR (Spector & Janson 2022, https://arxiv.org/abs/2011.14625):             min tr(A^-1) + sum_j 1 / s_j
    maximum entropy (same paper):                                              max log det(A) + sum_j log s_j

with A = 2 Sigma - diag(s). The last two are solved by exact steps of one coordinate. With a = (A^-1)_jj and
c = |A^-1 e_j|^2, s_j moves by

    (1 - r s_j) / (a + r),    r = sqrt(c) for MVR, r = a for maximum entropy,

and A^-1 by a matrix of rank one, so that a sweep costs O(D^3). Both problems are convex: the sweeps end at the optimum.
"""

from typing import Literal

import torch
from torch import Tensor

Method = Literal["mvr", "maxent", "equi"]
METHODS: tuple[Method, ...] = ("mvr", "maxent", "equi")
_SWEEPS = 100
_TOLERANCE = 1e-5  # largest change of an s in the last sweep; s lies in (0, 2)


def mvr_loss(correlation: Tensor, s: Tensor) -> float:
    """tr(G^-1) of the joint covariance G of columns and knockoffs, which MVR minimises.

    Args:
        correlation: (D, D), positive definite.
        s: (D,), positive, with 2 correlation - diag(s) positive definite.

    Example:
        >>> mvr_loss(torch.eye(2), torch.ones(2))
        4.0
    """
    return float(torch.linalg.inv(2 * correlation - torch.diag(s)).diagonal().sum() + s.reciprocal().sum())


def knockoff_scale(correlation: Tensor, method: Method = "mvr") -> Tensor:
    """The s (D,) of a correlation matrix, in float64.

    Args:
        correlation: (D, D), symmetric, positive definite, with ones on its diagonal.
        method: "mvr" has the most power under strong correlation; "maxent" is close to it; "equi" is the simplest.

    Returns:
        s with 0 < s and 2 correlation - diag(s) positive definite.

    Raises:
        ValueError: an unknown method, or a (nearly) singular matrix: some column is a combination of the others.

    Example:
        >>> knockoff_scale(torch.eye(3)).round(decimals=3)
        tensor([1., 1., 1.], dtype=torch.float64)
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}, got {method!r}")
    correlation = correlation.double()
    smallest = float(torch.linalg.eigvalsh(correlation)[0])
    if smallest < 1e-8:
        pairs = (correlation - torch.eye(len(correlation), dtype=torch.float64)).abs()
        row, column = divmod(int(pairs.argmax()), len(correlation))
        raise ValueError(
            f"some column is a linear combination of the others (smallest eigenvalue of the correlations "
            f"{smallest:.1e}), so that it has no knockoff of its own; the most correlated columns are {row} and "
            f"{column} ({float(correlation[row, column]):.4f}): drop the "
            "copies, or give a covariance that is positive definite"
        )
    # a little less than allowed: at 2 lambda_min knockoffs are a function of the columns in one direction
    start = torch.full((len(correlation),), min(1.0, 2 * smallest), dtype=torch.float64)
    if method == "equi":
        return start * (1 - 1e-6)
    s = start / 2
    for _ in range(_SWEEPS):
        before = s.clone()
        inverse = torch.linalg.inv(2 * correlation - torch.diag(s))  # anew each sweep: rank-one steps collect rounding
        for j in range(len(s)):
            column_of_inverse = inverse[:, j].clone()
            a = column_of_inverse[j]
            r = a if method == "maxent" else torch.linalg.vector_norm(column_of_inverse)
            step = (1 - r * s[j]) / (a + r)
            s[j] += step
            inverse.addr_(column_of_inverse, column_of_inverse, alpha=float(step / (1 - step * a)))
        if (s - before).abs().max() < _TOLERANCE:
            break
    return s
