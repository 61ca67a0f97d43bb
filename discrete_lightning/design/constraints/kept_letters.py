"""Letters of a template that keep their order while insertions and deletions elsewhere shift them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints.base import Constraint, cached_on_device
from discrete_lightning.design.constraints.fixed_positions import fix_all_but
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.functional._precision import without_autocast


@dataclass(frozen=True)
class KeptLetters(Constraint):
    """The letters outside the editable ranges are in the sequence, in their order, each run in one piece.

    Between two runs other letters may lie, or none, as far as the shifts allow. What does not fit before the sequence's end is
    out of the window; after the last letter of the reference any letters may follow. penalty = the least sum over such
    placements of the runs of 1 - p(letter), by dynamic programming over the runs.

    Args:
        reference: the template, followed by the letters of its flank.
        editable: half-open ranges of positions (from 0) of the reference.
        shift: the most places by which a run may be shifted, >= 0.

    Raises:
        ValueError: a range does not lie in the reference, shift is negative; or (in `validate`) the reference is shorter than
            the sequences.

    Example:
        >>> rule = KeptLetters("ACGTACGT", ((2, 4),), shift=2)  # AC, 0 to 4 letters, ACGT
        >>> [rule.check(sequence) for sequence in ("ACTTACGT", "ACTTTACG", "ACACGTTT", "ACGTACCT")]
        [True, True, True, False]
    """

    reference: str
    editable: tuple[Sequence[int], ...]
    shift: int

    def __post_init__(self) -> None:
        check_at_least(0, shift=self.shift)
        fix_all_but(self.reference, self.editable)  # raises an error for ranges that do not fit

    def _runs(self, alphabet: Alphabet) -> list[tuple[int, str]]:
        """The first position and the letters of each run."""
        spelled = alphabet.spelled(self.reference, "the template")
        return sorted(fix_all_but(spelled, self.editable).letters.items())

    def validate(self, length: int, alphabet: Alphabet) -> None:
        alphabet.spelled(self.reference, "the template")
        if length > len(self.reference):
            raise ValueError(
                f"KeptLetters: a template of {len(self.reference)} letters is shorter than the sequences, {length}"
            )

    def allowed(self, length: int, alphabet: Alphabet) -> Tensor:
        return cached_on_device(self._allowed, length, alphabet, torch.device("cpu"))

    def _allowed(self, length: int, alphabet: Alphabet) -> Tensor:
        """The letters before the first editable range cannot be shifted."""
        mask = torch.ones(length, len(alphabet), dtype=torch.bool)
        runs = self._runs(alphabet)
        if runs and runs[0][0] == 0:
            tokens = alphabet.encode(runs[0][1][:length])
            mask[: len(tokens)] = torch.nn.functional.one_hot(tokens, len(alphabet)).bool()
        return mask

    @without_autocast
    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        length = probabilities.shape[-2]
        x = probabilities.float().flatten(0, -3) if probabilities.ndim > 2 else probabilities.float().unsqueeze(0)
        far = float(2 * length)
        ends = x.new_full((len(x), length + 1), far)  # the penalty if the runs so far end before each position
        ends[:, 0] = 0.0
        last = 0
        for first, text in self._runs(alphabet):
            if first > last:  # an editable range lies before it
                ends = ends.cummin(-1).values
            last = first + len(text)
            shifted = (torch.arange(length + 1, device=x.device) - first).abs() > self.shift
            ends = (ends + self._misses(x, text, alphabet)).masked_fill(shifted, far)
            # letters behind the end of the window are not there to be wrong
            cut = ends[:, max(0, length - len(text)) :].amin(-1, keepdim=True)
            kept = ends[:, : max(0, length - len(text))]
            ends = torch.cat([x.new_full((len(x), length - kept.shape[1]), far), kept, cut], 1)
        return ends.amin(-1).view(probabilities.shape[:-2])

    def _misses(self, x: Tensor, text: str, alphabet: Alphabet) -> Tensor:
        """The sum of 1 - p of a run's letters if it begins at each position, (N, length + 1)."""
        length, size = x.shape[1], min(len(text), x.shape[1])
        kernel = cached_on_device(_Run(text[:size]).kernel, size, alphabet, x.device)
        found = torch.nn.functional.conv1d(torch.nn.functional.pad(x.mT, (0, size)), kernel)[:, 0]
        inside = (length - torch.arange(length + 1, device=x.device)).clamp(max=size)
        return (inside - found).clamp_min(0)


@dataclass(frozen=True)
class _Run:
    text: str

    def kernel(self, length: int, alphabet: Alphabet) -> Tensor:
        """One-hot letters of a run, float32 (1, letters, length)."""
        return torch.nn.functional.one_hot(alphabet.encode(self.text), len(alphabet)).to(torch.float32).T[None]
