"""The expected number of pairs of places with the same word, and its gradient, in memory linear in the length.

    R(p) = sum_{i < j} prod_t m(i + t, j + t),    m(i, j) = sum_k p(i, k) p(j, k),    t = 0 ... width - 1

For one-hot letters R counts pairs of equal words. They are found by sorting hashes (Karp and Rabin 1987,
https://doi.org/10.1147/rd.312.0249). The derivative by p(i + t, a) is the number of other words that have the letter a at
place t and equal the word at i in all other places. They are found by sorting the hashes of the words without the letter t.
For relaxed letters the pairs are summed over one distance j - i at a time, and once more for the gradient.
"""

import math
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.constraints.base import run_products


def expected_repeats(probabilities: Tensor, width: int) -> Tensor:
    """R of the words of `width` letters.

    Args:
        probabilities: (..., length, letters), rows sum to 1.
        width: the number of letters of a word, at least 1.

    Returns:
        (...), in the dtype of the probabilities.

    Example:
        >>> letters = torch.nn.functional.one_hot(torch.tensor([0, 1, 0, 1, 0]), 2).float()
        >>> expected_repeats(letters, 2), expected_repeats(letters, 3)
        (tensor(2.), tensor(1.))
    """
    if probabilities.shape[-2] <= width:
        return probabilities.sum((-2, -1)) * 0
    rows = probabilities.flatten(0, -3) if probabilities.ndim > 2 else probabilities.unsqueeze(0)
    total: Tensor = _ExpectedRepeats.apply(rows, width)
    return total.view(probabilities.shape[:-2])


def word_hashes(tokens: Tensor, width: int, letters: int) -> Tensor:
    """int64 (..., length - width + 1), equal for equal words.

    Words that fit into 62 bits (31 letters of DNA) have different hashes if they differ. Hashes of longer words overflow, so
    that in rare cases different words have the same hash.
    """
    places = tokens.shape[-1] - width + 1
    hashed = torch.zeros_like(tokens[..., :places])
    for t in range(width):
        hashed += tokens[..., t : t + places] * _factor(t, width, letters)
    return hashed


def _factor(t: int, width: int, letters: int) -> int:
    base = letters if width * math.log2(letters) < 62 else 6364136223846793005
    return (base**t + 2**63) % 2**64 - 2**63  # the same number as overflowing int64 arithmetic gives


def _groups(hashed: Tensor) -> tuple[Tensor, Tensor]:
    """Sorts hashes (N, places). Returns the order, and for each sorted hash the index of the first hash equal to it."""
    values, order = hashed.sort(-1)
    place = torch.arange(values.shape[-1], device=values.device)
    fresh = torch.nn.functional.pad(values[:, 1:] != values[:, :-1], (1, 0), value=True)
    return order, (place * fresh).cummax(-1).values


class _ExpectedRepeats(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, width: int) -> Tensor:
        ctx.width, ctx.hard = width, bool(((rows == 0) | (rows == 1)).all())
        if ctx.hard:
            tokens = rows.argmax(-1)
            ctx.letters = rows.shape[-1]
            ctx.save_for_backward(tokens)
            _, begins = _groups(word_hashes(tokens, width, ctx.letters))
            return (torch.arange(begins.shape[-1], device=begins.device) - begins).sum(-1).to(rows.dtype)
        ctx.save_for_backward(rows)
        distances = range(1, rows.shape[-2] - width + 1)
        return torch.stack([_at_distance(rows[:, :-d], rows[:, d:], width) for d in distances]).sum(0)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (weight,) = grad_outputs
        (saved,) = ctx.saved_tensors
        slope = _hard_slope(saved, ctx.width, ctx.letters) if ctx.hard else _relaxed_slope(saved, ctx.width, weight)
        return (slope.to(weight.dtype) * weight.view(-1, 1, 1) if ctx.hard else slope), None


def _hard_slope(tokens: Tensor, width: int, letters: int) -> Tensor:
    """The derivative of R at one-hot letters: int64 (N, length, letters)."""
    count, length = tokens.shape
    places = length - width + 1
    hashed = word_hashes(tokens, width, letters)
    slope = torch.zeros(count, length * letters, dtype=torch.int64, device=tokens.device)
    for t in range(width):
        there = tokens[:, t : t + places]
        order, begins = _groups(hashed - there * _factor(t, width, letters))
        sorted_letters = there.gather(1, order)
        # the letters at place t of the words of a group; a word is not its own partner
        found = torch.zeros(count, places * letters, dtype=torch.int64, device=tokens.device)
        found.scatter_add_(1, begins * letters + sorted_letters, torch.ones_like(begins))
        partners = found.view(count, places, letters).gather(1, begins.unsqueeze(-1).expand(-1, -1, letters))
        partners -= torch.nn.functional.one_hot(sorted_letters, letters)
        cells = ((order + t) * letters).unsqueeze(-1) + torch.arange(letters, device=tokens.device)
        slope.scatter_add_(1, cells.flatten(1), partners.flatten(1))
    return slope.view(count, length, letters)


def _at_distance(first: Tensor, second: Tensor, width: int) -> Tensor:
    """The sum (N,) over the pairs of one distance. `second` (N, n, letters) is `first` shifted by that distance."""
    agree = (first * second).sum(-1, keepdim=True)
    return run_products(agree, width).sum((-2, -1))


def _relaxed_slope(rows: Tensor, width: int, weight: Tensor) -> Tensor:
    slope = torch.zeros_like(rows)
    for d in range(1, rows.shape[-2] - width + 1):
        first, second = rows[:, :-d].detach().requires_grad_(), rows[:, d:].detach().requires_grad_()
        with torch.enable_grad():
            value = (_at_distance(first, second, width) * weight).sum()
        slopes = torch.autograd.grad(value, (first, second))
        slope[:, :-d] += slopes[0]
        slope[:, d:] += slopes[1]
    return slope
