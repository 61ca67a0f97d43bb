"""IndeCateR: the Rao-Blackwellised score function of independent categorical variables (De Smet et al. 2023,
https://arxiv.org/abs/2311.12569); with one sample the local expectation gradient of Titsias & Lazaro-Gredilla 2015.

    gradient to variable v = 1/S sum_s sum_c d softmax(logits_v)_c f(D_s with variable v set to c),   D_s ~ p

Each variable is summed over its categories, the others are drawn: unbiased for every f. For k of K without replacement the
sum is over swaps. With b_1, b_2, ... the order of a draw without i (see _plackett_luce.py),

    gradient to logit i = out_i sum_m q_m (f(S with i in place of b_k) - f(S without i)),
    out_i = prod_{m <= k} (1 - q_m),   q_m = w_i / (w_i + what is left of the others at draw m)

where the order without i is that of the draw itself, i left out. Here each f is compared with f(D_s), which is computed once.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from discrete_lightning.functional._checks import (
    check_categories,
    check_elements,
    check_one_kind,
    host_number,
    values_can_be_read,
)
from discrete_lightning.functional._keyed import repeated
from discrete_lightning.functional._plackett_luce import left, shares, total_share
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import log_weights
from discrete_lightning.functional.gumbel import categorical_one_hot, perturb
from discrete_lightning.functional.gumbel_sigmoid import gumbel_sigmoid
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k, k_hot_or_nan, largest
from discrete_lightning.functional.softmax import softmax

Function = Callable[[Tensor], Tensor]


def indecater(
    function: Function,
    logits: Tensor,
    *,
    samples: int = 1,
    chunk: int = 64,
    binary: bool = False,
    k: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The mean loss of the draws, with IndeCateR's gradient to the logits.

    Args:
        function: samples (..., B, *event) to losses (..., B). It is called once for the draws, with a graph: its own
            parameters get the gradient at the draws. Then without a graph for what differs from them in one variable.
        logits: (B, *event), K last unless `binary`.
        samples: S >= 1.
        chunk: how many values of the variables a call is given at most, >= 1: `chunk` x S samples of each example.
        binary: whether `logits` are log-odds.
        k: of a subset.
        generator: source of randomness.

    Returns:
        float32 or float64 of shape (B,).

    Raises:
        ValueError: if samples or chunk is less than 1, `binary` and `k` are both given, or logits have no distribution.

    Example:
        >>> logits = torch.zeros(1, 2, requires_grad=True)
        >>> indecater(lambda sample: sample[..., 1] ** 3, logits).sum().backward()
        >>> logits.grad
        tensor([[-0.2500,  0.2500]])
    """
    if samples < 1 or chunk < 1:
        raise ValueError(f"samples and chunk must be at least 1, got samples={samples}, chunk={chunk}")
    check_one_kind(binary, k)
    if binary:
        check_elements(logits)
    else:
        check_categories(logits, -1)
    rows = logits.unsqueeze(-1) if binary else logits
    rows = rows.reshape(len(logits), math.prod(rows.shape[1:-1]), rows.shape[-1])  # (B, variables, categories)
    if k is not None and k > 1:
        draw, path, numbers, change = _subsets(rows, samples, k, generator)
    else:
        draw, path, numbers, change = (_bits if binary else _categories)(rows, samples, generator)
    losses = function(draw.view(samples, *logits.shape))
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return losses.mean(0)
    slopes = torch.zeros(draw.shape, dtype=path.dtype, device=path.device)
    with torch.no_grad():
        variables, values = _other_values(numbers, draw.device)
        for start in range(0, len(values), chunk):
            variable, value = variables[start : start + chunk], values[start : start + chunk]
            row, place, weight = change(variable, value)  # (S, B, chunk, K), (S, B, chunk), (S, B, chunk)
            at = variable.view(-1, 1, 1, 1, 1).expand(-1, samples, len(logits), 1, draw.shape[-1])
            changed = draw.expand(len(value), *draw.shape).scatter(3, at, row.movedim(2, 0).unsqueeze(3))
            found = function(changed.view(len(value) * samples, *logits.shape)).view(len(value), samples, len(logits))
            difference = (found.to(path.dtype) - losses.detach().to(path.dtype)).movedim(0, 2)
            slopes.view(samples, len(logits), draw.shape[2] * draw.shape[3]).scatter_add_(
                2, variable * draw.shape[-1] + place, torch.where(weight != 0, weight * difference, 0.0)
            )
    surrogate = (slopes * path).mean(0).flatten(1).sum(1)
    return losses.mean(0) + (surrogate - surrogate.detach())


def _many(draw: Callable[[Tensor], Tensor], logits: Tensor, samples: int) -> Tensor:
    """`draw` of `samples` times the logits (B, V, K), (S, B, V, K)."""
    x = logits.detach()
    return draw(x).unsqueeze(0) if samples == 1 else draw(x.expand(samples, *x.shape))


def _generator(generator: torch.Generator | None, samples: int) -> torch.Generator | None:
    return generator if samples == 1 else repeated(generator, samples)


Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""Of variables (n,) and numbers of their other values (n,): the rows of those values (S, B, n, K); the category to which the
difference of the losses belongs, and its factor, (S, B, n). What is impossible has a factor of 0 and the row that was drawn."""

# draws (S, B, V, K), what the slopes multiply (B, V, K), how many other values each variable has, changes
_Kind = tuple[Tensor, Tensor, list[int], Change]


def _other_values(numbers: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Variables and numbers of their other values, int64 (sum of `numbers`,) each."""
    variables = [variable for variable, number in enumerate(numbers) for _ in range(number)]
    values = [value for number in numbers for value in range(number)]
    return torch.tensor(variables, device=device, dtype=torch.int64), torch.tensor(
        values, device=device, dtype=torch.int64
    )


def _categories(logits: Tensor, samples: int, generator: torch.Generator | None) -> _Kind:
    p, count = softmax(logits), logits.shape[-1]
    draw = _many(partial(categorical_one_hot, generator=_generator(generator, samples)), logits, samples)
    index, possible = draw.argmax(-1), p.detach() > 0
    numbers = [count] * logits.shape[1]
    order = place = None
    if p.numel() and values_can_be_read(p) and not host_number(possible.all()):  # only what some example can have
        numbers = possible.sum(-1).amax(0).tolist()
        order = p.detach().argsort(-1, descending=True)
        place = order.argsort(-1).expand(draw.shape).gather(-1, index.unsqueeze(-1)).squeeze(-1)

    def change(variable: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        drawn = index[..., variable]
        if order is None or place is None:
            other = (drawn + 1 + value) % count
        else:
            ranked = (place[..., variable] + 1 + value) % torch.tensor(numbers, device=value.device)[variable]
            other = order[:, variable].expand(*drawn.shape, -1).gather(-1, ranked.unsqueeze(-1)).squeeze(-1)
        right = possible[:, variable].expand(*drawn.shape, -1).gather(-1, other.unsqueeze(-1)).squeeze(-1)
        row = torch.zeros_like(draw[:, :, variable]).scatter(-1, torch.where(right, other, drawn).unsqueeze(-1), 1.0)
        return row, other, right.to(p.dtype)

    return draw, p, [max(0, number - 1) for number in numbers], change


def _bits(logits: Tensor, samples: int, generator: torch.Generator | None) -> _Kind:
    p = torch.sigmoid(float32(logits))
    draw = _many(partial(gumbel_sigmoid, hard=True, generator=_generator(generator, samples)), logits, samples)
    possible = ((p > 0) & (p < 1)).detach()

    def change(variable: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        drawn, right = draw[:, :, variable], possible[:, variable].squeeze(-1)
        weight = (1 - 2 * drawn.squeeze(-1).to(p.dtype)) * right
        return torch.where(right.unsqueeze(-1), 1 - drawn, drawn), torch.zeros_like(weight, dtype=torch.int64), weight

    return draw, p, [1] * logits.shape[1], change


def _subsets(logits: Tensor, samples: int, k: int, generator: torch.Generator | None) -> _Kind:
    check_k(logits, k)
    many = logits.detach().expand(samples, *logits.shape)
    count = logits.shape[-1]
    if k == count:
        return all_chosen(logits).expand(many.shape), logits, [], _no_change
    perturbed = _many(partial(perturb, generator=_generator(generator, samples)), logits, samples)
    best, valid = largest(perturbed, many, k)
    draw = k_hot_or_nan(many, best, valid)
    order = perturbed.topk(k + 1, -1).indices
    log_p = log_weights(float32(many), 1.0)
    log_mass, odds, log_out = left(log_p, order[..., :k])
    stays_out = torch.ones_like(log_p)
    for m in range(k):
        stays_out = stays_out * (1 - shares(log_p, log_mass[..., m]))
    factor = (stays_out * total_share(log_p, log_mass)).scatter(-1, order[..., :k], -log_out.exp() * odds)
    last, following = (torch.nn.functional.one_hot(order[..., i], count).to(draw.dtype) for i in (k - 1, k))

    def change(variable: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        drawn, place = draw[:, :, variable], value.expand(*draw.shape[:2], -1)
        weight = factor[:, :, variable].gather(-1, place.unsqueeze(-1)).squeeze(-1)
        this = torch.nn.functional.one_hot(place, count).to(draw.dtype)
        chosen = drawn.gather(-1, place.unsqueeze(-1)) > 0
        other = torch.where(chosen, drawn - this + following[:, :, variable], drawn - last[:, :, variable] + this)
        return torch.where(weight.unsqueeze(-1) != 0, other, drawn), place, weight

    return draw, float32(logits).masked_fill(logits.detach().isneginf(), 0.0), [count] * logits.shape[1], change


def _no_change(variable: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    raise NotImplementedError("all categories are chosen")
