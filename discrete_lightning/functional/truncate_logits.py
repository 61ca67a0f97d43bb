"""Truncated sampling: masks on logits that leave the likely categories, for an exact draw among them.

    temperature   z = logits / temperature
    top-k         the k largest                              (Fan et al. 2018, https://arxiv.org/abs/1805.04833)
    top-p         the smallest set of probability >= p       (nucleus; Holtzman et al. 2019, https://arxiv.org/abs/1904.09751)
    min-p         those with p_i >= m max p                  (Nguyen et al. 2024, https://arxiv.org/abs/2407.01082)

in this order, each on what the one before has left. What is left after all of them is a row of logits again.
"""

import math

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.functional._checks import (
    check_categories,
    check_rows,
    check_tau,
    host_number,
    is_traced,
    values_can_be_read,
)
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import over_tau
from discrete_lightning.functional._threads import in_threads
from discrete_lightning.functional.categorical import running_sum

_FEW = 4096  # numbers that are sorted in about the time of the calls
_ROUNDING = 1e-12  # of a float64 sum: of 10 equal probabilities top_p = .7 keeps 7, whatever the sum of 7 rounds to


def truncate_logits(
    logits: Tensor,
    temperature: float | Tensor = 1.0,
    *,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Logits over `temperature`, with -inf where a category is left out. A draw: `gumbel_max(truncate_logits(...))`.

    The order is temperature, top-k, top-p, min-p. The most likely category always stays. Of categories that are equally likely
    top-k and top-p keep those of the lowest index, as a stable sort would. Which ones stay has no gradient; the logits of those
    that stay pass theirs on.

    Args:
        logits: unnormalised log-probabilities (..., V), any floating dtype; a category at -inf stays masked and never counts.
        temperature: > 0; a tensor, 0-dim or one a row (see `gumbel_softmax`), may be learnable. The limit 0 is an argmax.
        top_k: how many stay, 1 <= k <= V; exactly k, or all that are not masked if these are fewer. 1 is the argmax.
        top_p: in [0, 1]: the smallest set whose probability reaches p stays, the category that crosses p included; at least
            one: 0 is the argmax. 1 changes nothing.
        min_p: in [0, 1]: those stay whose probability is at least `min_p` times the largest; 1 leaves the largest ones, several
            if they are equal. 0 changes nothing.

    Returns:
        Shape and dtype of `logits`. At temperature 1 the logits that stay are unchanged; otherwise a constant is subtracted
        from each row, so that its largest is 0. Computed in float32 (float64 of float64 logits): what stays of a 16-bit row
        is decided before the result is rounded to 16 bits, which moves probabilities by up to 1 % at another temperature than
        1. For an exact draw there give float32 logits.

    Raises:
        ValueError: if an argument is out of range, or a row holds NaN or +inf, or only -inf (on an accelerator NaN stays NaN).

    Example:
        >>> logits = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()
        >>> truncate_logits(logits, top_p=0.6).exp()
        tensor([0.5000, 0.2500, 0.0000, 0.0000])
        >>> truncate_logits(logits, top_k=3, min_p=0.4).isfinite()
        tensor([ True,  True, False, False])
    """
    check_categories(logits, -1)
    check_tau(temperature, "temperature", logits=logits)
    size = logits.shape[-1]
    _check_limits(size, top_k, top_p, min_p)
    wide = float32(logits)
    best = wide.detach().amax(-1, keepdim=True)
    check_rows(best - best, logits, -1)  # inf - inf and nan - nan are nan
    scores = over_tau(wide, temperature, best=best)
    if isinstance(temperature, Tensor) and temperature.requires_grad:
        scores = scores.masked_fill(wide.isneginf(), -torch.inf)  # -1e38 there: see `over_tau`
    z = scores.detach()
    top_k, top_p = (None if top_k == size else top_k), (None if top_p == 1 else top_p)
    dropped = None
    if z.numel() and (top_k is not None or top_p is not None):
        dropped = _beyond(z, *_last(z, top_k, top_p))
    if z.numel() and min_p:
        unlikely = z - z.amax(-1, keepdim=True) < math.log(min_p)
        dropped = unlikely if dropped is None else dropped | unlikely
    if dropped is not None:
        scores = torch.where(dropped, -torch.inf, scores)
    return scores.to(logits.dtype)


def _check_limits(size: int, top_k: int | None, top_p: float | None, min_p: float | None) -> None:
    if top_k is not None and not 1 <= top_k <= size:
        raise ValueError(f"top_k must be between 1 and the number of categories, got {top_k} of {size}")
    for name, value in (("top_p", top_p), ("min_p", min_p)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} is a probability, in [0, 1], got {value}")


def _last(z: Tensor, top_k: int | None, top_p: float | None) -> tuple[Tensor, Tensor]:
    """The smallest logit of each row that top-k and top-p leave, and how many they leave, each (..., 1)."""
    if top_k is None and top_p is not None and z.shape[-1] > _FEW and _on_host(z):
        return _by_selection(z, top_p)
    values = _largest(z, top_k or z.shape[-1])
    if top_p is None:
        return values[..., -1:], torch.full_like(values[..., -1:], values.shape[-1], dtype=torch.int64)
    weights = (values - values[..., :1]).exp()
    running = running_sum(weights if weights.device.type == "mps" else weights.double())  # MPS has no float64
    short = running < running[..., -1:] * (top_p * (1 - _ROUNDING))
    count = short.sum(-1, keepdim=True).add(1).clamp_max(values.shape[-1])
    return values.gather(-1, count - 1), count


def _on_host(z: Tensor) -> bool:
    """Whether numpy may be used."""
    return z.device.type == "cpu" and not is_traced() and type(z) is Tensor


def _largest(z: Tensor, count: int) -> Tensor:
    """The `count` largest logits of each row, the largest first."""
    rest = z.shape[-1] - count
    # torch sorts indices along, which takes several times as long where there are many
    if _on_host(z) and count * 64 > z.shape[-1] and z.numel() > _FEW:
        numbers = np.partition(z.numpy(), rest, -1)[..., rest:] if rest else z.numpy()
        return torch.from_numpy(np.sort(numbers, -1)).flip(-1)
    return z.topk(count, -1).values if rest else z.sort(-1, descending=True).values


def _by_selection(z: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """`_last` without sorting all of a row: its largest quarter, again and again, where that holds the mass that is missing."""
    rows = z.reshape(-1, z.shape[-1]).numpy()
    last, count = np.empty(len(rows), dtype=rows.dtype), np.empty(len(rows), dtype=np.int64)

    def select(number: int) -> None:
        left, best = rows[number], rows[number].max()
        missing, above = np.exp(left - best).sum(dtype=np.float64) * (top_p * (1 - _ROUNDING)), 0
        while len(left) > _FEW:
            rest = len(left) - len(left) // 4
            left = np.partition(left, rest)
            mass = np.exp(left[rest:] - best).sum(dtype=np.float64)
            if mass >= missing:
                left = left[rest:]
            else:
                missing, above, left = missing - mass, above + len(left) - rest, left[:rest]
        left = np.sort(left)[::-1]
        short = int((np.exp(left - best).cumsum(dtype=np.float64) < missing).sum())
        place = min(short, len(left) - 1)
        count[number], last[number] = above + place + 1, left[place]

    in_threads(range(len(rows)), select)
    shape = (*z.shape[:-1], 1)
    return torch.from_numpy(last).view(shape), torch.from_numpy(count).view(shape)


def _beyond(z: Tensor, last: Tensor, count: Tensor) -> Tensor:
    """True at the categories that are not among the `count` (..., 1) largest, of which `last` is the smallest. False at NaN."""
    below = z < last
    if values_can_be_read(z) and host_number((below.shape[-1] - below.sum(-1, keepdim=True) == count).all()):
        return below  # the last that stays is larger than the next
    equal = z == last
    room = count - (z > last).sum(-1, keepdim=True)
    return below | (equal & (equal.cumsum(-1) > room))
