"""Limits on the GC content of a whole sequence or of every window, as companies that synthesise DNA set them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.circular import over_origin
from discrete_lightning.design.constraints.base import Constraint, cached_on_device, run_sums
from discrete_lightning.functional._arguments import check_at_least


@dataclass(frozen=True)
class GCContent(Constraint):
    """The fraction of G and C lies between `low` and `high`. penalty = sum over windows of the expected excess.

    Args:
        low, high: fractions in [0, 1].
        window: the length of the windows, each of which must satisfy the limits; None: the whole sequence.
        circular: whether the sequence is a circle, such as a plasmid: windows over its origin count, too.

    Raises:
        ValueError: not 0 <= low <= high <= 1, or (in `validate`) the window does not fit or the alphabet has no G and C.

    Example:
        >>> GCContent(0.25, 0.65).check("ACGT"), GCContent(0.25, 0.65, window=2).check("ACGT")
        (True, False)
    """

    low: float
    high: float
    window: int | None = None
    circular: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(
                f"GCContent needs 0 <= low <= high <= 1, got low={self.low}, high={self.high}; 40 % is 0.4"
            )
        if self.window is not None:
            check_at_least(1, window=self.window)

    def validate(self, length: int, alphabet: Alphabet) -> None:
        if not {"G", "C"} <= set(alphabet.letters):
            raise ValueError(f"GCContent: the alphabet {alphabet.letters!r} has no G and C")
        if self.window is not None and self.window > length:
            raise ValueError(f"GCContent: window={self.window} does not fit sequences of length {length}")

    def gc_bounds(self, length: int) -> tuple[int, int, int]:
        width = length if self.window is None else self.window
        return width, math.ceil(self.low * width - 1e-9), math.floor(self.high * width + 1e-9)

    def allowed(self, length: int, alphabet: Alphabet) -> Tensor | None:
        width, fewest, most = self.gc_bounds(length)
        is_gc = self._is_gc(length, alphabet)
        if fewest == width:
            return is_gc.expand(length, -1)
        return (~is_gc).expand(length, -1) if most == 0 else None

    def _is_gc(self, length: int, alphabet: Alphabet) -> Tensor:
        return torch.tensor([letter in "GC" for letter in alphabet.letters])

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        is_gc = cached_on_device(self._is_gc, 0, alphabet, probabilities.device)
        share = (probabilities * is_gc).sum(-1)
        width, fewest, most = self.gc_bounds(share.shape[-1])
        counts = self._counts(share, width)
        excess = (counts - most).clamp_min(0) + (fewest - counts).clamp_min(0)
        return (excess / width).sum(-1)

    def satisfied(self, tokens: Tensor, alphabet: Alphabet) -> Tensor:
        is_gc = cached_on_device(self._is_gc, 0, alphabet, tokens.device)[tokens].long()
        width, fewest, most = self.gc_bounds(tokens.shape[-1])
        counts = self._counts(is_gc, width)
        return ((counts >= fewest) & (counts <= most)).all(-1)

    def _counts(self, is_gc: Tensor, width: int) -> Tensor:
        """The sums of all windows of `width` letters; a circle that is one window has one."""
        around = self.circular and width < is_gc.shape[-1]
        return run_sums(over_origin(is_gc, width - 1, -1) if around else is_gc, width)
