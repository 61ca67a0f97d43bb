"""Where a design starts: from random sequences, from known sequences, or from one that should change as little as possible."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints import Constraint, fix_all_but

_FASTA = (".fasta", ".fa", ".fna", ".faa")


class Start:
    """Fixes the length of the designs and where the chains of a search start."""

    length: int
    edit_weight: float = 0.0

    def template(self, alphabet: Alphabet) -> str | None:
        """The sequence to edit, checked against the alphabet; None if there is no template."""
        return None

    def initial_sequences(self, alphabet: Alphabet) -> tuple[str, ...]:
        """The sequences from which the chains start, in turn; empty for random ones."""
        template = self.template(alphabet)
        return () if template is None else (template,)

    def constraints(self) -> tuple[Constraint, ...]:
        """Constraints that the start itself adds."""
        return ()


@dataclass(frozen=True)
class FromNothing(Start):
    """Sequences of a given length; the chains start from random sequences.

    Args:
        length: at least 1.
    """

    length: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"FromNothing: length must be at least 1, got {self.length}")


@dataclass(frozen=True)
class Edit(Start):
    """Substitutions in a given sequence, the template: total = loss(score) + edit_weight * number of changed letters.

    Args:
        sequence: the template, or the path of a FASTA file with one sequence (.fasta, .fa, .fna or .faa).
        edit_weight: the cost of one changed letter, >= 0.
        editable: half-open ranges of positions (from 0) that may change, such as [[1000, 1200]]; all other positions are
            fixed. None: all positions may change.

    Raises:
        ValueError: the sequence is empty, a range does not lie in it, or the file does not hold exactly one sequence.
        OSError: the file does not exist.

    Example:
        >>> Edit("ACGT").length
        4
        >>> Edit("ACGTAC", editable=[(2, 4)]).constraints()
        (FixedPositions(letters={0: 'AC', 4: 'AC'}),)
    """

    sequence: str
    edit_weight: float = 0.1
    editable: tuple[tuple[int, ...], ...] | None = None

    def __init__(
        self, sequence: str, edit_weight: float = 0.1, editable: Sequence[Sequence[int]] | None = None
    ) -> None:
        if sequence.endswith(_FASTA):
            sequence = _read_fasta(Path(sequence))
        if not sequence:
            raise ValueError("Edit: the sequence is empty")
        if edit_weight < 0:
            raise ValueError(f"Edit: edit_weight must not be negative, got {edit_weight}")
        object.__setattr__(self, "sequence", sequence)
        object.__setattr__(self, "edit_weight", edit_weight)
        ranges = None if editable is None else tuple(tuple(bounds) for bounds in editable)
        object.__setattr__(self, "editable", ranges)
        self.constraints()  # raises an error for ranges that do not fit

    @property
    def length(self) -> int:  # type: ignore[override]
        """The length of the template."""
        return len(self.sequence)

    def template(self, alphabet: Alphabet) -> str:
        alphabet.encode(self.sequence)
        return self.sequence

    def constraints(self) -> tuple[Constraint, ...]:
        return () if self.editable is None else (fix_all_but(self.sequence, self.editable),)


@dataclass(frozen=True)
class FromSequences(Start):
    """Known sequences, such as the best measured so far: the chains start from them, in turn, and every letter may change.

    Args:
        sequences: one or more, all of the same length.

    Raises:
        ValueError: the list is empty, or the lengths differ.

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
        """The length of each sequence."""
        return len(self.sequences[0])

    def initial_sequences(self, alphabet: Alphabet) -> tuple[str, ...]:
        alphabet.encode_all(self.sequences)
        return self.sequences


def _read_fasta(path: Path) -> str:
    """The only sequence of a FASTA file."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = [line for line in lines if line.startswith(">")]
    if len(names) != 1 or not lines[0].startswith(">") or len(lines) == 1:
        raise ValueError(
            f"Edit: {path} must hold one sequence below one line that begins with '>'; it has {len(names)} such lines and "
            f"{len(lines) - len(names)} others"
        )
    return "".join(lines[1:])
