"""Limits on words that occur twice: what synthesis and assembly cannot stand."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.alphabet import Alphabet
from discrete_lightning.constraints.base import Constraint, run_products


@dataclass(frozen=True)
class MaxRepeat(Constraint):
    """No word longer than `longest` occurs at two places. penalty = expected number of pairs of places with the same word.

    With m(i, d) = sum_k p(i, k) p(i + d, k), the chance that two letters agree, the penalty is the sum over distances d and
    places i of prod_j m(i + j, d), j = 0 ... longest. Memory and time grow with length squared.

    Args:
        longest: allowed length of a repeated word, at least 1.

    Example:
        >>> MaxRepeat(3).check("ACGTTACGA"), MaxRepeat(2).check("ACGTTACGA")
        (True, False)
    """

    longest: int

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise ValueError(f"MaxRepeat: longest must be at least 1, got {self.longest}")

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        length, width = probabilities.shape[-2], self.longest + 1
        if length <= width:
            return probabilities.sum((-2, -1)) * 0
        same = probabilities @ probabilities.mT
        # read with rows one longer, row i of the flat matrix begins at its diagonal: m(i, d) stands in row i, column d
        flat = torch.nn.functional.pad(same.flatten(-2), (0, length))
        places = torch.arange(length, device=same.device)
        inside = (places + places.unsqueeze(1) < length) & (places > 0)
        agree = flat.view(*same.shape[:-2], length, length + 1)[..., :-1] * inside
        return run_products(agree, width).sum((-2, -1))

    def satisfied(self, tokens: Tensor, alphabet: Alphabet) -> Tensor:
        width = self.longest + 1
        if tokens.shape[-1] <= width:
            return torch.ones(tokens.shape[:-1], dtype=torch.bool, device=tokens.device)
        words = tokens.unfold(-1, width, 1)
        # exact where a word fits 62 bits; longer ones wrap around, and a collision only refuses a sequence that was good
        base = len(alphabet) if width * math.log2(len(alphabet)) < 62 else 6364136223846793005
        factors = torch.tensor([_wrapped(base**i) for i in range(width)], device=tokens.device)
        hashed = (words * factors).sum(-1).sort(-1).values
        return (hashed[..., 1:] != hashed[..., :-1]).all(-1)


def _wrapped(number: int) -> int:
    """A Python integer as int64 arithmetic would leave it."""
    return (number + 2**63) % 2**64 - 2**63
