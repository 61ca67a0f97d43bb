"""Where a design starts: from nothing, from known sequences, or from one that should change as little as possible."""

from dataclasses import dataclass

from discrete_lightning.alphabet import Alphabet


class Start:
    """What fixes the length of the designs."""

    length: int
    edit_weight: float = 0.0

    def template(self, alphabet: Alphabet) -> str | None:
        """The sequence to edit, checked against the alphabet, or None."""
        return None

    def beginnings(self, alphabet: Alphabet) -> tuple[str, ...]:
        """Sequences that chains begin at, in turn; empty for random ones."""
        template = self.template(alphabet)
        return () if template is None else (template,)


@dataclass(frozen=True)
class FromNothing(Start):
    """Sequences of a length, from random beginnings.

    Args:
        length: at least 1.
    """

    length: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"FromNothing: length must be at least 1, got {self.length}")


@dataclass(frozen=True)
class Edit(Start):
    """Substitutions in a given sequence: total = loss(score) + edit_weight * number of changed letters.

    Args:
        sequence: the sequence to edit.
        edit_weight: what one change must gain, >= 0.

    Example:
        >>> Edit("ACGT").length
        4
    """

    sequence: str
    edit_weight: float = 0.1

    def __post_init__(self) -> None:
        if not self.sequence:
            raise ValueError("Edit: the sequence is empty")
        if self.edit_weight < 0:
            raise ValueError(f"Edit: edit_weight must not be negative, got {self.edit_weight}")

    @property
    def length(self) -> int:  # type: ignore[override]
        """Of the sequence."""
        return len(self.sequence)

    def template(self, alphabet: Alphabet) -> str:
        alphabet.encode(self.sequence)
        return self.sequence


@dataclass(frozen=True)
class FromSequences(Start):
    """From known sequences, such as the best measured so far: chains begin there, in turn, and may go anywhere.

    Args:
        sequences: one or more, of one length.

    Raises:
        ValueError: there is none, or their lengths differ.

    Example:
        >>> FromSequences(["ACGT", "AAAA"]).length
        4
    """

    sequences: tuple[str, ...]

    def __init__(self, sequences: list[str] | tuple[str, ...]) -> None:
        lengths = {len(sequence) for sequence in sequences}
        if isinstance(sequences, str) or len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"FromSequences needs a list of sequences of one length, got {len(sequences)} of lengths {sorted(lengths)}"
            )
        object.__setattr__(self, "sequences", tuple(sequences))

    @property
    def length(self) -> int:  # type: ignore[override]
        """Of each sequence."""
        return len(self.sequences[0])

    def beginnings(self, alphabet: Alphabet) -> tuple[str, ...]:
        alphabet.encode_all(self.sequences)
        return self.sequences
