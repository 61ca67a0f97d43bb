"""How much selections of several seeds or folds agree.

    Jaccard: mean over pairs of |A and B| / |A or B|
    Nogueira, Sechidis & Brown 2018 (https://jmlr.org/papers/v18/17-514.html):
        1 - mean_j s_j^2 / (k/D (1 - k/D)),    s_j^2 = M / (M - 1) p_j (1 - p_j)

p_j is the part of the M selections that hold feature j, k their mean size. The second is 0 in the mean for selections
drawn at random and 1 for equal ones; the first grows with the size by chance alone.
"""

import torch
from torch import Tensor


def _checked(name: str, masks: Tensor) -> Tensor:
    if masks.dtype != torch.bool or masks.dim() != 2 or masks.shape[0] < 2 or masks.shape[1] < 1:
        raise ValueError(
            f"{name} needs bool masks (M >= 2 selections, D >= 1 features), got {masks.dtype} of shape "
            f"{tuple(masks.shape)}"
        )
    return masks.double()


def jaccard_index(masks: Tensor) -> float:
    """Mean Jaccard index over all pairs of selections, in [0, 1]; two empty ones agree: 1.

    Args:
        masks: bool (M, D), M >= 2 selections.

    Raises:
        ValueError: masks are not bool or fewer than two.

    Example:
        >>> jaccard_index(torch.tensor([[True, True, False], [True, False, False]]))
        0.5
    """
    chosen = _checked("jaccard_index", masks)
    both = chosen @ chosen.T
    sizes = chosen.sum(dim=1)
    either = sizes[:, None] + sizes - both
    pairs = torch.where(either > 0, both / either.clamp(min=1), 1.0)
    first, second = torch.triu_indices(len(chosen), len(chosen), offset=1)
    return float(pairs[first, second].mean())


def nogueira_stability(masks: Tensor) -> float:
    """Agreement of selections beyond chance: 1 if all are equal, 0 in the mean if random, at least -1 / (M - 1).

    Args:
        masks: bool (M, D), M >= 2 selections.

    Returns:
        nan where every selection is empty or every one holds all features: chance agrees there, too.

    Raises:
        ValueError: masks are not bool or fewer than two.

    Example:
        >>> nogueira_stability(torch.tensor([[True, True, False], [True, True, False]]))
        1.0
    """
    chosen = _checked("nogueira_stability", masks)
    runs, features = chosen.shape
    part = chosen.mean(dim=0)
    size = float(part.sum()) / features
    if size in (0.0, 1.0):
        return float("nan")
    return 1 - float((part * (1 - part)).mean()) * runs / (runs - 1) / (size * (1 - size))
