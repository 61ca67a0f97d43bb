"""Second-order Gaussian model-X knockoffs (Candes, Fan, Janson & Lv 2018, https://arxiv.org/abs/1610.02351).

    k | x ~ N(x - (x - mu) Sigma^-1 diag(s),  2 diag(s) - diag(s) Sigma^-1 diag(s))

For Gaussian rows, (x, k) keeps its distribution when x_j and k_j are swapped, for any set of j: the joint covariance is
G = [[Sigma, Sigma - diag(s)], [Sigma - diag(s), Sigma]]. So a knockoff is what a column without effect would look like.
"""

from typing import Literal

import torch
from torch import Tensor

from discrete_lightning.selection.statistics._columns import check_table, standardized
from discrete_lightning.selection.statistics.covariance import ledoit_wolf
from discrete_lightning.selection.statistics.knockoff_scale import Method, knockoff_scale

Marginals = Literal["gaussian", "ranks"]
_ROWS_PER_COLUMN = 5  # below it the sample covariance is too noisy


def gaussian_knockoffs(
    x: Tensor,
    method: Method = "mvr",
    *,
    marginals: Marginals = "gaussian",
    covariance: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Knockoffs of the columns of a table.

    The covariance is the sample's where n >= 5 D, and that of `ledoit_wolf` on the standardised columns where there
    are fewer rows. Both are estimates: the false discovery rate is then controlled approximately, exactly only with
    the true one.

    Args:
        x: table (n, D), floating, finite; rows are independent draws. It should hold no column that others determine.
        method: how s is chosen: "mvr", "maxent" or "equi" (see `knockoff_scale`).
        marginals: "gaussian" takes the columns as they are; "ranks" maps each to normal scores by its ranks (ties in
            random order), draws there, and maps back to the values of the column: a Gaussian copula, for columns that
            are skewed, heavy-tailed or discrete. A knockoff then has only values that its column has.
        covariance: (D, D), the true one if it is known; of the normal scores if `marginals="ranks"`.
        generator: source of randomness, on the CPU; the default one if None.

    Returns:
        Knockoffs (n, D), of the dtype and on the device of x. Computed in float64 on the CPU.

    Raises:
        ValueError: x is not a finite floating table, a column is constant or a combination of others, an argument is
            unknown, or the covariance does not fit.

    Example:
        >>> x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
        >>> k = gaussian_knockoffs(x, generator=torch.Generator().manual_seed(1))
        >>> k.shape, bool((torch.cov(x.T) - torch.cov(k.T)).abs().max() < 0.3)
        (torch.Size([500, 4]), True)
    """
    if marginals not in ("gaussian", "ranks"):
        raise ValueError(f'gaussian_knockoffs: marginals is "gaussian" or "ranks", got {marginals!r}')
    check_table("gaussian_knockoffs", x)
    table = x.detach().cpu().double()
    standardized("gaussian_knockoffs", table)  # refuses constant columns, before ranks make them vary
    scores = _normal_scores(table, generator) if marginals == "ranks" else table
    knockoffs = _draw(scores, method, covariance, generator)
    if marginals == "ranks":
        # values of the column, not between them: else a knockoff of a discrete column would give itself away
        position = (torch.special.ndtr(knockoffs) * len(table)).long().clamp(0, len(table) - 1)
        knockoffs = table.sort(dim=0).values.gather(0, position)
    return knockoffs.to(dtype=x.dtype, device=x.device)


def _draw(x: Tensor, method: Method, covariance: Tensor | None, generator: torch.Generator | None) -> Tensor:
    scaled, mean, std = standardized("gaussian_knockoffs", x)
    n, columns = x.shape
    if covariance is None:
        correlation = scaled.T @ scaled / n if n >= _ROWS_PER_COLUMN * columns else ledoit_wolf(scaled)[0]
    else:
        covariance = covariance.detach().cpu().double()
        if covariance.shape != (columns, columns) or not (covariance.diagonal() > 0).all():
            raise ValueError(
                f"gaussian_knockoffs: a table of {columns} columns needs a covariance ({columns}, {columns}) with a "
                f"positive diagonal, got shape {tuple(covariance.shape)}"
            )
        std = covariance.diagonal().sqrt()
        correlation = covariance / std.outer(std)
        scaled = (x - mean) / std
    s = knockoff_scale(correlation, method)
    shrink = torch.linalg.solve(correlation, torch.diag(s))  # Sigma^-1 diag(s)
    conditional = 2 * torch.diag(s) - s[:, None] * shrink
    # by eigenvalues: some may be 0, where Cholesky fails
    values, vectors = torch.linalg.eigh((conditional + conditional.T) / 2)
    root = vectors * values.clamp(min=0).sqrt()
    noise = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    return mean + std * (scaled - scaled @ shrink + noise @ root.T)


def _normal_scores(x: Tensor, generator: torch.Generator | None) -> Tensor:
    n = len(x)
    shuffled = torch.rand(x.shape, dtype=torch.float64, generator=generator).argsort(dim=0)
    order = shuffled.gather(0, x.gather(0, shuffled).argsort(dim=0, stable=True))
    quantiles = ((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None].expand_as(x)
    return torch.special.ndtri(torch.empty_like(x).scatter_(0, order, quantiles))
