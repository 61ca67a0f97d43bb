"""A motif as counts of letters; matrices of probabilities are recognised, and what may be either is refused."""

from dataclasses import dataclass

from torch import Tensor

_SITES = 100  # of which probabilities without a number of sites are taken to be the frequencies
_TOLERANCE = 0.02  # of the sum of the probabilities of a position, which are rounded


@dataclass(frozen=True)
class Motif:
    """A position frequency matrix.

    Attributes:
        names: identifier and name, as far as the file has them.
        counts: float64 (4, width), rows A, C, G, T.
    """

    names: tuple[str, ...]
    counts: Tensor


def as_counts(matrix: Tensor, where: str) -> Tensor:
    """Counts, given counts or probabilities (4, width), which count as the frequencies of 100 sites.

    Args:
        matrix: float64 (4, width).
        where: names the matrix in errors.

    Raises:
        ValueError: a number is negative or not finite, a position has no counts, or it cannot be said whether these are counts
            or probabilities.

    Example:
        >>> as_counts(torch.tensor([[0.5], [0.25], [0.25], [0.0]]), "it").flatten()
        tensor([50., 25., 25.,  0.])
    """
    sums = matrix.sum(0)
    if not matrix.isfinite().all() or (matrix < 0).any() or not (sums > 0).all():
        raise ValueError(
            f"{where} is not a matrix of counts: a number is negative (as in log-odds) or not finite, or all counts of a "
            "position are 0; give counts or probabilities"
        )
    whole = bool((matrix == matrix.round()).all())
    of_one = (sums - 1).abs() <= _TOLERANCE
    if of_one.all() and whole:
        raise ValueError(
            f"{where} holds 0 and 1 alone, counts of one site or probabilities: multiply them by the number of sites"
        )
    if of_one.all():
        return matrix / sums * _SITES
    if not whole and (sums < 2).any():
        position = int(sums.argmin())
        raise ValueError(
            f"{where} holds neither counts nor probabilities: position {position + 1} has the sum {float(sums[position]):g}; "
            "probabilities of a position have the sum 1"
        )
    return matrix
