"""Several draws of one categorical variable that spread over its distribution: systematic sampling (Madow & Madow 1944,
https://doi.org/10.1214/aoms/1177731312; Owen, Monte Carlo theory, methods and examples, chapter 8).

    D_i = F^-1((u + pi(i)) / m),   u ~ Uniform(0, 1), pi a random permutation of 0 ... m - 1, F the distribution function

Each draw alone is exact. Together each category comes floor(m p) or ceil(m p) times, so that a mean over the draws has less
variance than of independent ones. Every variable has its own u and pi: within one draw the variables are independent.
"""

import math

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_weights, is_traced
from discrete_lightning.functional._keyed import KeyedGenerator, in_place_of
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import uniform
from discrete_lightning.functional.categorical import running_sum


def stratified_categorical(probabilities: Tensor, samples: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Draws `samples` indices from each Categorical(probabilities), stratified.

    Args:
        probabilities: non-negative and floating, shape (..., K), of any positive sum.
        samples: m >= 1.
        generator: source of randomness.

    Returns:
        int64 of shape (samples, ...).

    Raises:
        ValueError: if samples < 1, there is no category, or a row holds NaN, infinity or a negative number, or only zeros (on
            an accelerator such a row gets any category).

    Example:
        >>> stratified_categorical(torch.full((4,), 0.25), 4).sort().values
        tensor([0, 1, 2, 3])
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    check_categories(probabilities, -1, "probabilities")
    check_weights(probabilities, "probabilities", empty=False)
    return draw_stratified(float32(probabilities.detach()), samples, generator)


def draw_stratified(probabilities: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
    """`stratified_categorical` of probabilities in float32 or float64 that need no check."""
    *leading, count = probabilities.shape
    rows = probabilities.reshape(math.prod(leading), count)
    u = strata(leading, samples, probabilities.device, generator).view(len(rows), samples)
    running = running_sum(rows.to(u.dtype))
    total = running[:, -1:]
    # kept below the total despite rounding: otherwise the last category, which may be masked, could be drawn
    target = (u * total).minimum(total * (1.0 - 2.0**-23))
    index = torch.searchsorted(running, target, right=True).clamp_max(count - 1)
    return index.t().reshape(samples, *leading)


def strata(leading: list[int], samples: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Uniforms (*leading, samples), one in each of `samples` equal parts of [0, 1), in a random order."""
    generator = in_place_of(generator)
    # torch.compile can draw float32 only, and MPS has no float64
    narrow = device.type == "mps" or (is_traced() and not isinstance(generator, KeyedGenerator))
    dtype = torch.float32 if narrow else torch.float64
    u = uniform((*leading, samples + 1), dtype=dtype, device=device, generator=generator)
    return (u[..., :1] + u[..., 1:].argsort(-1)) / samples
