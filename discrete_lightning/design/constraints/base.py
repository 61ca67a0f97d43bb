"""What every constraint is: a differentiable penalty of letter probabilities, zero exactly where the hard check passes."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import DNA, Alphabet

Pattern = tuple[str, ...]  # the letters allowed at each of its positions


class Constraint:
    """A rule that sequences must keep. Subclasses are frozen dataclasses: hashable, and named in a config.

    A rule serves twice. While searching, `penalty` of independent letter probabilities (..., length, letters) pushes towards
    sequences that keep it; at one-hot probabilities it is 0 if the rule is kept and positive if not, so that the hard check is
    the same function. At the end `satisfied` decides: what fails is never a design.
    """

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        """How much sequences of these letter probabilities break the rule.

        Args:
            probabilities: (..., length, letters), rows sum to 1.
            alphabet: of the letters.

        Returns:
            >= 0, shape (...); at one-hot rows 0 if and only if the rule is kept.
        """
        raise NotImplementedError

    def satisfied(self, tokens: Tensor, alphabet: Alphabet) -> Tensor:
        """Which sequences keep the rule.

        Args:
            tokens: int64 (..., length), indices of letters.
            alphabet: of the letters.

        Returns:
            bool (...).
        """
        one_hot = torch.nn.functional.one_hot(tokens, len(alphabet)).to(torch.float32)
        return self.penalty(one_hot, alphabet) < 1e-4

    def check(self, sequence: str, alphabet: Alphabet = DNA) -> bool:
        """Whether a sequence keeps the rule."""
        return bool(self.satisfied(alphabet.encode(sequence), alphabet))

    def validate(self, length: int, alphabet: Alphabet) -> None:
        """Raises ValueError if the rule makes no sense for sequences of this length and alphabet."""

    def allowed(self, length: int, alphabet: Alphabet) -> Tensor | None:
        """Letters that the rule allows by position alone, bool (length, letters), or None where it says nothing of them."""
        return None

    def patterns(self, alphabet: Alphabet) -> Iterator[Pattern]:
        """Patterns that the rule forbids anywhere."""
        return iter(())

    def gc_bounds(self, length: int) -> tuple[int, int, int] | None:
        """(window, fewest, most) G or C in every window, or None."""
        return None

    def codons(self) -> tuple[int, list[frozenset[str]]] | None:
        """Start of the first codon and the allowed codons one after another, or None."""
        return None

    def longest_repeat(self) -> int | None:
        """Length of the longest word that may occur twice, or None."""
        return None

    def for_template(self, template: str | None) -> "Constraint":
        """The rule for edits of a template, for rules that take what they keep from it; None: there is none."""
        return self

    def table(
        self, make: Callable[[int, Alphabet], Tensor], length: int, alphabet: Alphabet, device: torch.device
    ) -> Tensor:
        """make(length, alphabet) on a device, made once: penalties are called thousands of times."""
        key = (make.__name__, length, alphabet, device)
        if key not in self._tables:
            self._tables[key] = make(length, alphabet).to(device)
        return self._tables[key]

    @cached_property
    def _tables(self) -> dict[tuple[str, int, Alphabet, torch.device], Tensor]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Tables are made anew where the rule is unpickled."""
        return {name: value for name, value in self.__dict__.items() if name != "_tables"}


def tokens_to_letters(letters: str, alphabet: Alphabet) -> list[int]:
    """Indices of letters, which must all be in the alphabet.

    Raises:
        ValueError: if one is not.
    """
    return alphabet.encode(letters).tolist()


def windows_of(probabilities: Tensor, width: int) -> Tensor:
    """(..., length - width + 1, width, letters): every window of a sequence."""
    return probabilities.unfold(-2, width, 1).transpose(-1, -2)


def run_products(rows: Tensor, count: int) -> Tensor:
    """Products of `count` consecutive rows (..., n, m) -> (..., n - count + 1, m), in log2(count) steps."""
    result, done = None, 0
    run, length = rows, 1  # products of `length` rows
    while count:
        if count & 1:
            result = run if result is None else result[..., : run.shape[-2] - done, :] * run[..., done:, :]
            done += length
        count >>= 1
        if count:
            run, length = run[..., :-length, :] * run[..., length:, :], 2 * length
    assert result is not None
    return result
