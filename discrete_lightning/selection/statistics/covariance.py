"""Covariance of a table with few rows (Ledoit & Wolf 2004, https://doi.org/10.1016/S0047-259X(03)00096-4).

    Sigma = (1 - a) S + a m I,    m = tr(S) / D,    a = min(b, d) / d,
    d = |S - m I|^2 / D,    b = sum_i |x_i x_i^T - S|^2 / (n^2 D)

S is the sample covariance (divided by n). a minimises E|Sigma - true|^2 asymptotically, and Sigma is positive definite
for any n.
"""

from torch import Tensor

from discrete_lightning.selection.statistics._columns import check_table


def ledoit_wolf(x: Tensor) -> tuple[Tensor, float]:
    """Covariance shrunk to a multiple of the identity, and the weight of the identity.

    Args:
        x: table (n, D), floating, finite; its columns are centred here.

    Returns:
        The covariance (D, D) in float64, and a in [0, 1].

    Raises:
        ValueError: x is not a finite floating table.

    Example:
        >>> covariance, weight = ledoit_wolf(torch.randn(10, 30, generator=torch.Generator().manual_seed(0)))
        >>> covariance.shape, bool(torch.linalg.eigvalsh(covariance)[0] > 0), 0 < weight <= 1
        (torch.Size([30, 30]), True, True)
    """
    check_table("ledoit_wolf", x)
    centred = x.double() - x.double().mean(dim=0)
    n, columns = centred.shape
    sample = centred.T @ centred / n
    scale = sample.diagonal().mean()
    distance = (sample.square().sum() - columns * scale.square()) / columns
    squares = centred.square()
    noise = (squares.sum(dim=1).square().mean() - sample.square().sum()) / (n * columns)
    weight = 1.0 if distance <= 0 else float(min(noise.clamp(min=0), distance) / distance)
    shrunk = (1 - weight) * sample
    shrunk.diagonal().add_(weight * scale)
    return shrunk, weight
