"""k ones among independent bits: the arithmetic of the conditional Bernoulli distribution, in float32 without logarithms.

Bits of probability p_i = sigmoid(a_i - theta) that are k in number have p(S) = prod_{i in S} exp(a_i) / e_k(exp(a)), whatever
theta is. With theta such that sum_i p_i = k (the tilt), k is the most likely count: it has at least the probability
1 / (D + 1). So everything is a sum of products of probabilities that neither overflows nor underflows where it counts, and its
relative error is a few roundings. A table of log e_j has an error of the size of log e_k times 6e-8, which is 1e-4 for
50 of 784.

The distribution of the count is the product of the polynomials q_i + p_i z. They are multiplied in pairs, the products in pairs
again, and so on, up to degree k: O(D k) in about log2(D) steps, where a table that takes one category after the other has
D steps. On the way back down each node gets the distribution of the count of all others (`outside`), or draws how many of
its ones fall to its left half (`draw_ones`).

Layout: coefficients first, then nodes, then rows, so that every inner loop runs over whole rows.
"""

import math

import torch
from torch import Tensor

from discrete_lightning.functional._checks import is_traced
from discrete_lightning.functional._keyed import KeyedGenerator, in_place_of
from discrete_lightning.functional.gumbel import exponential_noise

_GAP = 40.0  # beyond it the k-th and the next category are apart for good: any theta between them serves

Dual = tuple[Tensor, Tensor | None]  # a polynomial and its derivative along one direction, if wanted


def tilted(scores: Tensor, k: int, top: Tensor | None = None) -> Tensor:
    """`scores` less a number a row for which the sigmoids sum to about k; the gradient takes that for a constant.

    It lies between the k-th and the next score, but for log k below and log(D - k) above. Bisection looks at all scores once a
    step; what it leaves open moves the mean count by at most one standard deviation.

    Args:
        scores: (..., D), -inf where masked.
        k: 1 <= k < D.
        top: the k + 1 largest (..., k + 1), if known.

    Returns:
        Shape of `scores`.
    """
    categories = scores.shape[-1]
    with torch.no_grad():
        if top is None:
            top = scores.topk(k + 1, -1).values
        pivot = top[..., k - 1 : k]
        centred = scores - pivot  # first: huge scores that are equal stay equal
        low = (top[..., k:] - pivot).clamp_min(-_GAP) - math.log(k)
        high = torch.full_like(low, math.log(categories - k))
        width = _GAP + math.log(k) + math.log(categories - k)
        for _ in range(math.ceil(math.log2(width * math.sqrt(categories) / 2))):
            middle = (low + high) / 2
            more = torch.sigmoid(centred - middle).sum(-1, keepdim=True) > k
            low, high = torch.where(more, middle, low), torch.where(more, high, middle)
    return scores - pivot - (low + high) / 2


def leaves(x: Tensor) -> Tensor:
    """The polynomials q_i + p_i z: (2, D, rows) of tilted scores (..., D)."""
    columns = as_columns(x)
    return torch.stack([torch.sigmoid(-columns), torch.sigmoid(columns)])


def as_columns(x: Tensor) -> Tensor:
    """(..., D) as (D, rows)."""
    return x.reshape(-1, x.shape[-1]).t().contiguous()


def as_rows(columns: Tensor, like: Tensor) -> Tensor:
    """(D, rows) in the shape of `like` (..., D)."""
    return columns.t().reshape(like.shape)


def grow(leaf: Tensor, k: int, slope: Tensor | None = None) -> list[Dual]:
    """The levels of the tree, leaves first, the root (k + 1, 1, rows) last; those below it have an even number of nodes."""
    x, dx = leaf, slope
    levels: list[Dual] = []
    while x.shape[1] > 1:
        if x.shape[1] % 2:  # a node that holds no category: the polynomial 1
            nothing = torch.zeros_like(x[:, :1])
            x = torch.cat([x, torch.cat([nothing[:1] + 1, nothing[1:]])], 1)
            dx = None if dx is None else torch.cat([dx, torch.zeros_like(dx[:, :1])], 1)
        levels.append((x, dx))
        left, right = _halves(x)
        if dx is not None:
            dleft, dright = _halves(dx)
            dx = _product(dleft, right, k) + _product(left, dright, k)
        x = _product(left, right, k)
    return [*levels, (x, dx)]


def outside(levels: list[Dual], k: int, categories: int) -> Dual:
    """For each category the probability (2, D, rows) that all others have k ones (first) or k - 1."""
    root, slope = levels[-1]
    zeros = torch.zeros_like(root)
    rest, drest = torch.cat([zeros[:k], zeros[k:] + 1]), None if slope is None else zeros
    for x, dx in reversed(levels[:-1]):
        half = x.shape[1] // 2
        rest, sibling = _twice(rest[:, :half]), x.roll(half, 1)  # without a node that holds no category
        if dx is not None and drest is not None:
            drest = _correlation(_twice(drest[:, :half]), sibling, len(x))
            drest = drest + _correlation(rest, dx.roll(half, 1), len(x))
        rest = _correlation(rest, sibling, len(x))
    return rest[:, :categories], None if drest is None else drest[:, :categories]


def log_count_probability(x: Tensor, k: int) -> Tensor:
    """Log-probability of k ones for tilted scores (..., D): (...)."""
    root, _ = grow(leaves(x), k)[-1]
    return root[k].reshape(x.shape[:-1]).log()


def draw_ones(x: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
    """Exact draws of k ones for tilted scores (..., D), k < D: their shape and dtype. No gradient.

    Each node draws how many of its ones are in its left half, by a race of exponentials, in which rare counts come up at their
    rate (see gumbel.py).
    """
    generator = in_place_of(generator)
    levels = grow(leaves(x), k)
    ones = torch.full_like(levels[-1][0][0], k, dtype=torch.int64)
    for polynomials, _ in reversed(levels[:-1]):
        left, right = _halves(polynomials)
        most, ones = len(polynomials) - 1, ones[: left.shape[1]]
        others = ones - torch.arange(most + 1, device=x.device).view(-1, 1, 1)
        weight = left * right.gather(0, others.clamp(0, most)) * ((others >= 0) & (others <= most))
        drawn = (weight / _race(weight, x, generator)).argmax(0)
        drawn = torch.minimum(torch.maximum(drawn, ones - most), ones)  # a row of NaN, too, keeps to what exists
        ones = torch.cat([drawn, ones - drawn])
    return as_rows(ones[: x.shape[-1]], x).to(x.dtype)


def _race(weight: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Exp(1) noise of weights (counts, nodes, rows) for scores `x` (..., D)."""
    if not isinstance(generator, KeyedGenerator):
        return exponential_noise(weight.shape, device=x.device, generator=generator)
    noise = exponential_noise((*x.shape[:-1], *weight.shape[:2]), device=x.device, generator=generator)
    return noise.view(-1, *weight.shape[:2]).permute(1, 2, 0)


def marginals(x: Tensor, k: int) -> Tensor:
    """P(i in S) of tilted scores (..., D), k < D: p_i O_1 / (q_i O_0 + p_i O_1), O_j = P(the others have k - j ones)."""
    leaf = leaves(x)
    rest, _ = outside(grow(leaf, k), k, x.shape[-1])
    absent, present = leaf * rest
    return as_rows(present / (absent + present), x)


def covariance_product(x: Tensor, g: Tensor, k: int) -> Tensor:
    """The Jacobian of the marginals, which is the covariance of the indicators of S, times g (..., D).

    Along g, p_i moves by p_i q_i g_i. With D_j the derivative of O_j that follows, the marginal moves by

        p_i q_i (D_1 O_0 - O_1 D_0 + g_i O_1 O_0) / (q_i O_0 + p_i O_1)^2

    A constant in g changes nothing, so the mean of g under p_i q_i is taken off first: little is left to cancel.
    """
    leaf = leaves(x)
    variance = leaf[0] * leaf[1]
    slope = as_columns(g.to(x.dtype))
    total = variance.sum(0).clamp_min(torch.finfo(x.dtype).tiny)
    slope = slope - (variance * slope).sum(0) / total
    moved = variance * slope
    rest, drest = outside(grow(leaf, k, torch.stack([-moved, moved])), k, x.shape[-1])
    assert drest is not None
    change = drest[1] * rest[0] - rest[1] * drest[0] + slope * rest[1] * rest[0]
    return as_rows(variance * change / (leaf * rest).sum(0).square(), x)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    half = x.shape[1] // 2
    return x[:, :half], x[:, half:]


def _twice(x: Tensor) -> Tensor:
    return torch.cat([x, x], 1)


def _product(a: Tensor, b: Tensor, k: int) -> Tensor:
    """The product of polynomials, up to degree k."""
    size = min(len(a) + len(b) - 2, k) + 1
    if is_traced():
        return _antidiagonals(a, b)[:size]
    total = a.new_zeros((size, *a.shape[1:]))
    for i in range(len(a)):
        part = b[: size - i]
        total[i : i + len(part)].addcmul_(a[i], part)
    return total


def _correlation(rest: Tensor, b: Tensor, size: int) -> Tensor:
    """sum_j rest[i + j] b[j] for i < size: what the others have (rest) and the sibling b has leave to this node."""
    if is_traced():
        return _antidiagonals(b.flip(0), rest)[len(b) - 1 : len(b) - 1 + size]
    total = b.new_zeros((size, *b.shape[1:]))
    for j in range(min(len(b), len(rest))):
        part = rest[j : j + size]
        total[: len(part)].addcmul_(b[j], part)
    return total


def _antidiagonals(a: Tensor, b: Tensor) -> Tensor:
    """sum_i a[i] b[j - i] for all j, by operations whose number does not grow with the degree: a graph stays small.

    The outer product, padded to rows of len(a) + len(b) and read as rows that are shorter by one, has them in its columns.
    """
    outer = a.unsqueeze(1) * b.unsqueeze(0)
    padded = torch.nn.functional.pad(outer, (0, 0, 0, 0, 0, len(a))).flatten(0, 1)
    return padded[: -len(a)].unflatten(0, (len(a), len(a) + len(b) - 1)).sum(0)
