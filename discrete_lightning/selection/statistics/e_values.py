"""One selection of several draws of knockoffs, by e-values (Ren & Barber 2022, https://arxiv.org/abs/2205.15461).

    e_j = mean over draws of  D 1[w_j >= T] / (1 + #{i: w_i <= -T}),    T the threshold of a draw

One draw of knockoffs is random, and so is what it selects. An average of w over draws has no guarantee. e-values may be
averaged (their sum over columns without effect is D at most in the mean), and e-BH (Wang & Ramdas 2022,
https://arxiv.org/abs/2009.02824) on them controls the rate:

    select the k largest, k = max{k: e_(k) >= D / (fdr k)}
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.selection.statistics._columns import check_rate
from discrete_lightning.selection.statistics.knockoff_threshold import knockoff_threshold


def knockoff_e_values(draws: Sequence[Tensor], fdr: float) -> Tensor:
    """e-values of several runs of the filter with knockoffs drawn anew.

    Args:
        draws: importances w (D,), one for each draw of knockoffs of the same table.
        fdr: rate of the threshold inside, 0 < fdr < 1. Any value is valid; the authors use half of the rate of `e_bh`:
            at the same rate a single run that selects less than the others has no say. But the threshold then keeps
            20 columns or none if `e_bh` is to run at .1.

    Returns:
        (D,) in float64, >= 0, for `e_bh`.

    Raises:
        ValueError: no draws, draws of different lengths, fdr outside (0, 1), values that are not finite.

    Example:
        >>> w = torch.cat([torch.ones(10), -torch.full((10,), 0.1)])
        >>> knockoff_e_values([w, w], 0.1)[[0, -1]]
        tensor([20.,  0.], dtype=torch.float64)
    """
    check_rate("knockoff_e_values", fdr)
    lengths = {tuple(w.shape) for w in draws}
    if len(lengths) != 1:
        raise ValueError(
            f"knockoff_e_values needs one importance or more, all of one length, got shapes {sorted(lengths)}"
        )
    total = torch.zeros(draws[0].shape, dtype=torch.float64, device=draws[0].device)
    for w in draws:
        threshold = knockoff_threshold(w, fdr)
        values = w.detach().double()
        # in float64 from the start: e_bh compares quotients that are equal but for rounding
        total += (values >= threshold).double() * len(values) / (1 + int((values <= -threshold).sum()))
    return total / len(draws)


def e_bh(e_values: Tensor, fdr: float) -> Tensor:
    """Which e-values are discoveries: bool (D,), at a false discovery rate of `fdr` under any dependence.

    Args:
        e_values: (D,), >= 0.
        fdr: rate of false discoveries, 0 < fdr < 1.

    Raises:
        ValueError: fdr outside (0, 1), values that are negative or nan.

    Example:
        >>> e_bh(torch.tensor([30.0, 25.0, 1.0, 0.0]), 0.1)
        tensor([ True,  True, False, False])
    """
    check_rate("e_bh", fdr)
    if e_values.dim() != 1 or not (e_values >= 0).all():
        raise ValueError(
            f"e_bh needs a vector of values >= 0, got shape {tuple(e_values.shape)} with a value below 0 or nan"
        )
    values = e_values.detach().double()
    ordered = values.sort(descending=True).values
    ranks = torch.arange(1, len(values) + 1, dtype=torch.float64, device=values.device)
    passed = (ordered * ranks * fdr >= len(values) * (1 - 1e-12)).nonzero().flatten()
    if not len(passed):
        return torch.zeros_like(values, dtype=torch.bool)
    return values >= ordered[passed[-1]]
