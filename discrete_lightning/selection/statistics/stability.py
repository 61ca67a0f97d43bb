"""Stability selection by complementary pairs (Shah & Samworth 2013, https://arxiv.org/abs/1105.5578).

    keep j if it is chosen in a part >= pi of the 2 B halves of the rows;    E[false] <= q^2 / ((2 pi - 1) D)

The bound is that of Meinshausen & Buhlmann 2010 (https://arxiv.org/abs/0809.2932), q the mean number chosen of a half.
It bounds a number, not a rate. As the halves of a pair share no row, it holds with no assumption about the chooser for
those kept that a half chooses with a probability of q / D at most; and for all without effect if the chooser treats
these alike and is no worse than guessing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StableSelection:
    """What `stability_selection` found.

    Attributes:
        frequencies: (D,), part of the halves in which each feature was chosen, in [0, 1].
        selected: (D,), bool: frequencies >= threshold.
        mean_chosen: q, mean number of features chosen of a half.
        false_bound: bound on the expected number of false ones among the selected, q^2 / ((2 threshold - 1) D).
    """

    frequencies: Tensor
    selected: Tensor
    mean_chosen: float
    false_bound: float


def stability_selection(
    fit: Callable[[Tensor], Tensor], rows: int, pairs: int = 50, threshold: float = 0.75, *, seed: int = 0
) -> StableSelection:
    """Chooses features of many halves of the rows, and keeps those that are chosen often.

    Args:
        fit: takes indices of rows (rows // 2,), int64; returns a bool mask (D,) of the features chosen of these rows.
        rows: number of rows, 4 or more.
        pairs: number of pairs of halves; `fit` runs twice as often.
        threshold: pi, part of the halves that must choose a feature, .5 < pi <= 1.
        seed: of the halves.

    Raises:
        ValueError: an argument out of its range, or a mask that is not bool or of another length than the first.

    Example:
        >>> x = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
        >>> found = stability_selection(lambda half: x[half].T @ x[half, 0] > 10, rows=100, pairs=5)
        >>> found.selected.tolist(), found.mean_chosen >= 1
        ([True, False, False, False, False], True)
    """
    if rows < 4 or pairs < 1:
        raise ValueError(f"stability_selection needs rows >= 4 and pairs >= 1, got rows={rows}, pairs={pairs}")
    if not 0.5 < threshold <= 1:
        raise ValueError(
            f"stability_selection needs .5 < threshold <= 1 (the bound is infinite at .5), got {threshold!r}"
        )
    generator = torch.Generator().manual_seed(seed)
    masks: list[Tensor] = []
    for _ in range(pairs):
        order = torch.randperm(rows, generator=generator)
        for half in (order[: rows // 2], order[rows // 2 : 2 * (rows // 2)]):
            mask = fit(half)
            if mask.dtype != torch.bool or mask.dim() != 1 or (masks and mask.shape != masks[0].shape):
                raise ValueError(
                    "stability_selection: fit returns a bool mask (D,) of the features, always of the same length, got "
                    f"{mask.dtype} of shape {tuple(mask.shape)}"
                )
            masks.append(mask)
    chosen = torch.stack(masks).double()
    frequencies, mean_chosen = chosen.mean(dim=0), float(chosen.sum(dim=1).mean())
    bound = mean_chosen**2 / ((2 * threshold - 1) * chosen.shape[1])
    return StableSelection(frequencies, frequencies >= threshold - 1e-12, mean_chosen, bound)
