"""Vectors for the places of dead codes: drawn with a probability in proportion to their error, as k-means++ does
(Arthur and Vassilvitskii 2007), by systematic sampling over all ranks.

One grid of n points lies over the running sum of all ranks' errors; each rank finds its own part of it. Sums are of integers:
exact, equal on all devices, and with no float64, which MPS lacks, nor a float cumsum, which is not deterministic on CUDA.
Nothing is read on the host.
"""

import torch
from torch import Tensor

from discrete_lightning.distributed import all_gather_equal, all_reduce_sum, rank

_LARGEST = 2.0**30  # what the largest error becomes, as an integer: the sum of 2^32 of them fits int64


@torch.no_grad()
def sample_by_error(vectors: Tensor, errors: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """A vector for each wanted place; a vector whose error is large is taken once, so that some places may get none.

    Collective: all ranks call it together, with equal `wanted`.

    Args:
        vectors: this rank's candidates, float32 (N, D); N may be 0, and differ between ranks.
        errors: their errors >= 0, float32 (N,).
        wanted: bool (K,).

    Returns:
        found: bool (K,), False where not wanted, and equal on all ranks; rows: float32 (K, D), 0 where nothing was found.

    Example:
        >>> sample_by_error(torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 3.0]), torch.tensor([True, False, True]))
        (tensor([ True, False, False]), tensor([[2.],
                [0.],
                [0.]]))
    """
    if not len(vectors):
        vectors, errors = vectors.new_zeros(1, vectors.shape[1]), errors.new_zeros(1)
    largest = all_gather_equal(errors.amax()).amax()
    running = (errors / torch.where(largest > 0, largest, 1) * _LARGEST).long().cumsum(0)
    totals = all_gather_equal(running[-1])
    before = totals[: rank()].sum()
    step = totals.sum() // wanted.sum().clamp_min(1)
    place = wanted.long().cumsum(0) - 1  # its number among the wanted ones
    points = place * step + step // 2 - before
    chosen = torch.searchsorted(running, points, right=True)
    mine = wanted & (points >= 0) & (chosen < len(running))
    chosen = chosen.clamp_max(len(running) - 1)
    mine &= ~_repeated(chosen, mine)
    rows = torch.where(mine.unsqueeze(1), vectors[chosen], 0.0)
    packed = all_reduce_sum(torch.cat([mine.unsqueeze(1).to(rows.dtype), rows], 1))
    return packed[:, 0] > 0, packed[:, 1:]


def _repeated(chosen: Tensor, mine: Tensor) -> Tensor:
    """Where a place would take the same vector as one before it. `chosen` does not fall along the places that are mine."""
    highest = torch.where(mine, chosen, -1).cummax(0).values
    return torch.cat([highest.new_full((1,), -1), highest[:-1]]) == chosen
