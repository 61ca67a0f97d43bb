"""The base of all constraints: a differentiable penalty that is 0 exactly where the constraint is satisfied."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import lru_cache

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import DNA, Alphabet
from discrete_lightning.layers.constant_buffers import real_device

Pattern = tuple[str, ...]  # the letters allowed at each of its positions


class Constraint:
    """A rule that sequences must satisfy. Subclasses are frozen dataclasses: they are hashable and can be named in a config.

    A search uses `penalty` of independent letter probabilities (..., length, letters) to move towards sequences that satisfy
    the rule. At one-hot probabilities the penalty is 0 if the rule is satisfied and positive if not. `satisfied` decides which
    sequences are reported: a sequence that breaks a rule is never a design.
    """

    def __str__(self) -> str:
        """The class and the arguments that are not their defaults."""
        if not is_dataclass(self):
            return repr(self)
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        texts = [f"{each.name}={given[each.name]!r}" for each in fields(self) if given[each.name] != each.default]
        return f"{type(self).__name__}({', '.join(texts)})"

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        """How much sequences with these letter probabilities break the rule.

        Args:
            probabilities: (..., length, letters), rows sum to 1.
            alphabet: of the letters.

        Returns:
            >= 0, shape (...); at one-hot rows 0 if and only if the rule is satisfied.
        """
        raise NotImplementedError

    def satisfied(self, tokens: Tensor, alphabet: Alphabet) -> Tensor:
        """Which sequences satisfy the rule.

        Args:
            tokens: int64 (..., length), indices of letters.
            alphabet: of the letters.

        Returns:
            bool (...).
        """
        one_hot = torch.nn.functional.one_hot(tokens, len(alphabet)).to(torch.float32)
        return self.penalty(one_hot, alphabet) < 1e-4

    def check(self, sequence: str, alphabet: Alphabet = DNA) -> bool:
        """Whether a sequence satisfies the rule."""
        return bool(self.satisfied(alphabet.encode(sequence), alphabet))

    def validate(self, length: int, alphabet: Alphabet) -> None:
        """Raises ValueError if the rule cannot be applied to sequences of this length and alphabet."""

    def allowed(self, length: int, alphabet: Alphabet) -> Tensor | None:
        """The letters that the rule allows at each position, bool (length, letters); None if it allows all letters."""
        return None

    def patterns(self, alphabet: Alphabet) -> Iterator[Pattern]:
        """Patterns that must not occur at any position."""
        return iter(())

    def gc_bounds(self, length: int) -> tuple[int, int, int] | None:
        """(window, minimum, maximum) number of G and C in every window, or None if the rule does not limit it."""
        return None

    def codons(self, length: int) -> tuple[int, list[frozenset[str]]] | None:
        """The first position of a gene and the codons allowed at each third letter; None if the rule has no codons."""
        return None

    def longest_repeat(self) -> int | None:
        """The length of the longest word that may occur twice, or None if the rule does not limit it."""
        return None

    def bind_template(self, template: str | None) -> "Constraint":
        """The rule for edits of a template (None if there is none). Rules that read an argument from it override this."""
        return self


@lru_cache(maxsize=512)
def cached_on_device(
    make: Callable[[int, Alphabet], Tensor], length: int, alphabet: Alphabet, device: torch.device
) -> Tensor:
    """make(length, alphabet) on a device. It is computed once, since a search calls penalties thousands of times.

    Args:
        make: a bound method of a constraint; other constraints, equal ones included, have separate entries.
        length: first argument of `make`.
        alphabet: second argument of `make`.
        device: where the result is needed.
    """
    # a tensor made in inference mode could not be used in training later, and one made on the meta device has no values
    with torch.inference_mode(False), real_device():
        return make(length, alphabet).to(device)


def windows_of(probabilities: Tensor, width: int) -> Tensor:
    """(..., length - width + 1, width, letters): every window of a sequence."""
    return probabilities.unfold(-2, width, 1).transpose(-1, -2)


def run_products(rows: Tensor, count: int) -> Tensor:
    """Products of `count` consecutive rows, (..., n, m) -> (..., n - count + 1, m), in log2(count) steps."""
    return _runs(rows, count, torch.mul)


def run_sums(values: Tensor, count: int) -> Tensor:
    """Sums of `count` consecutive values, (..., n) -> (..., n - count + 1), in log2(count) steps.

    The error of a sum is at most log2(count) roundings of its dtype, and sums of small whole numbers are exact. Differences of
    a cumulative sum would need float64, and on CUDA have no deterministic algorithm.
    """
    return _runs(values.unsqueeze(-1), count, torch.add).squeeze(-1)


def _runs(rows: Tensor, count: int, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    result, done = None, 0
    run, length = rows, 1  # of `length` rows
    while count:
        if count & 1:
            result = run if result is None else combine(result[..., : run.shape[-2] - done, :], run[..., done:, :])
            done += length
        count >>= 1
        if count:
            run, length = combine(run[..., :-length, :], run[..., length:, :]), 2 * length
    assert result is not None
    return result
