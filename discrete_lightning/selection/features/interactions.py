"""Products of two and three columns that tell of the target: what a network of few rows does not find by itself.

    r(S) = corr(prod_{j in S} x_j, y),   |S| = 2, 3, with x standardised and S with repetition (squares);
    kept: the largest, where n r(S)^2 > 2 log(M / level), M being the number of products

Under independence n r^2 is about chi-square, with P(n r^2 > 2 log(M / level)) < level / M, so that a product of nothing is kept
in a share `level` of tables. For two columns this is the interaction screening of Hao & Zhang 2014 (JASA 109:1285) without its
demand that the columns matter by themselves: the parity of three columns does not show in fewer than three.
"""

import math

import torch
from torch import Tensor

_MOST_CUBES = 200  # columns of which all triples are looked at: D^3 / 6 correlations
_MOST_PAIRS = 2000

Product = tuple[int, ...]


def screened_products(x: Tensor, y: Tensor, most: int = 16, level: float = 0.05) -> list[Product]:
    """The products of columns that are correlated with the target beyond chance, at most `most` of each order.

    Args:
        x: standardised columns, float32 (n, D). With more than 200 columns triples, with more than 2,000 also pairs, are not
            looked at.
        y: targets, float32 (n, O); the largest correlation with one of them counts.
        most: number of products of each order.
        level: probability that a product of an order is kept where none matters, in (0, 1).

    Returns:
        Indices of the columns of each product, the strongest pairs first, then triples.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.randn(500, 6, generator=generator)
        >>> screened_products(x, (x[:, 1] * x[:, 4]).sign().unsqueeze(1))[0]
        (1, 4)
    """
    rows, columns = x.shape
    if rows < 8 or columns > _MOST_PAIRS:
        return []
    number, ones = columns * (columns + 1) // 2, torch.ones(rows)
    products: list[Product] = [each for _, each in _kept(x, y, ones, most, number, level)]
    if columns <= _MOST_CUBES:
        products += _triples(x, y, most, level)
    return products


def _triples(x: Tensor, y: Tensor, most: int, level: float) -> list[Product]:
    columns = x.shape[1]
    number = columns * (columns + 1) * (columns + 2) // 6
    best: list[tuple[float, Product]] = []
    for third in range(columns):  # i <= j <= third: each triple once
        found = _kept(x[:, : third + 1], y, x[:, third], most, number, level)
        best += [(strength, (*pair, third)) for strength, pair in found]
    return [product for _, product in sorted(best, reverse=True)[:most]]


def _kept(x: Tensor, y: Tensor, factor: Tensor, most: int, number: int, level: float) -> list[tuple[float, Product]]:
    """(r^2, (i, j)) of the products x_i x_j factor, i <= j, that are kept, of `number` in all: the strongest first.

    Moments of all pairs are products of matrices: no table of rows and pairs is made.
    """
    rows, columns = x.shape
    scaled = x * factor.unsqueeze(1)
    mean = scaled.T @ x / rows
    variance = (scaled.square().T @ x.square() / rows - mean.square()).clamp_min(1e-12)
    strength = torch.zeros(columns, columns)
    for target in (y - y.mean(0)).T:
        covariance = (scaled * target.unsqueeze(1)).T @ x / rows
        strength = torch.maximum(strength, covariance.square() / target.square().mean().clamp_min(1e-12))
    strength = (strength / variance).triu()
    values, places = strength.flatten().topk(min(most, columns * (columns + 1) // 2))
    least = 2 * math.log(number * y.shape[1] / level) / rows
    found = zip(values.tolist(), places.tolist(), strict=True)
    return [(value, (place // columns, place % columns)) for value, place in found if value > least]
