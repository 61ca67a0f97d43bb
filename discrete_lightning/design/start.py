"""Where a design starts: from random sequences, from known sequences, or from one that should change as little as possible."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints import Constraint, fix_all_but
from discrete_lightning.design.files import Record, is_path, read_sequences
from discrete_lightning.functional._arguments import check_at_least, check_not_negative


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
        check_at_least(1, length=self.length)


@dataclass(frozen=True)
class Edit(Start):
    """Substitutions in a given sequence, the template: total = loss(score) + edit_weight * number of changed letters.

    The length stays as it is: there are no insertions and deletions.

    Args:
        sequence: the template, or the path of a FASTA or FASTQ file, also packed by gzip. Small letters (soft masking) are
            read as capitals. A text with a suffix (`gene.fa`) or a separator of folders is a path.
        edit_weight: the cost of one changed letter, finite and >= 0.
        editable: half-open ranges of positions (from 0) that may change, such as [[1000, 1200]]; all other positions are
            fixed. None: all positions may change.
        record: the name of the sequence in a file of several.

    Raises:
        ValueError: the sequence is empty, a range does not lie in it, or the file does not hold exactly one such sequence; or
            (in `template`) a letter is not in the alphabet.
        OSError: the file cannot be read.

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
        self,
        sequence: str | Path,
        edit_weight: float = 0.1,
        editable: Sequence[Sequence[int]] | None = None,
        record: str | None = None,
    ) -> None:
        name = ""
        if is_path(sequence):
            found = _one_record(Path(sequence), record)
            sequence, name = found.sequence, str(found)
        elif record is not None:
            raise ValueError(
                f"Edit: record={record!r} chooses a sequence of a file, and {str(sequence)[:30]!r} is a sequence"
            )
        if not sequence:
            raise ValueError("Edit: the sequence is empty")
        check_not_negative(edit_weight=edit_weight)
        object.__setattr__(self, "sequence", str(sequence))
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "edit_weight", edit_weight)
        object.__setattr__(self, "editable", _ranges(editable))
        self.constraints()  # raises an error for ranges that do not fit

    @property
    def length(self) -> int:  # type: ignore[override]
        """The length of the template."""
        return len(self.sequence)

    def template(self, alphabet: Alphabet) -> str:
        return alphabet.spelled(self.sequence, vars(self)["_name"])

    def constraints(self) -> tuple[Constraint, ...]:
        return () if self.editable is None else (fix_all_but(self.sequence, self.editable),)


@dataclass(frozen=True)
class FromSequences(Start):
    """Known sequences, such as the best measured so far: the chains start from them, in turn, and every letter may change.

    Args:
        sequences: one or more, all of the same length; or the path of a FASTA or FASTQ file of them, such as `designs.fasta`
            of an earlier run.

    Raises:
        ValueError: there is no sequence, or the lengths differ; or (in `initial_sequences`) a letter is not in the alphabet.
        OSError: the file cannot be read.

    Example:
        >>> FromSequences(["ACGT", "AAAA"]).length
        4
    """

    sequences: tuple[str, ...]

    def __init__(self, sequences: Sequence[str] | str | Path) -> None:
        names: tuple[str, ...] = ()
        if isinstance(sequences, str | Path) and is_path(sequences):
            records = read_sequences(sequences)
            names, sequences = tuple(map(str, records)), [record.sequence for record in records]
        if isinstance(sequences, str | Path) or not sequences:
            raise ValueError(
                f"FromSequences needs a list of sequences, or the path of a FASTA file, got {str(sequences)[:40]!r}"
            )
        lengths = {len(sequence) for sequence in sequences}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"FromSequences needs a list of sequences of one length, got {len(sequences)} of lengths {sorted(lengths)}"
            )
        object.__setattr__(self, "sequences", tuple(sequences))
        object.__setattr__(self, "_names", names or ("",) * len(sequences))

    @property
    def length(self) -> int:  # type: ignore[override]
        """The length of each sequence."""
        return len(self.sequences[0])

    def initial_sequences(self, alphabet: Alphabet) -> tuple[str, ...]:
        return tuple(map(alphabet.spelled, self.sequences, vars(self)["_names"]))


def _ranges(editable: Any) -> tuple[tuple[int, ...], ...] | None:
    if editable is None:
        return None
    if not isinstance(editable, Sequence) or not all(isinstance(bounds, Sequence) for bounds in editable):
        raise ValueError(f"Edit: editable is a list of ranges such as [[10, 20], [30, 45]], got {editable!r}")
    return tuple(tuple(bounds) for bounds in editable)


def _one_record(path: Path, name: str | None) -> Record:
    """The sequence of a file that has this name, or its only one."""
    records = read_sequences(path)
    names = [record.name for record in records]
    chosen = [record for record in records if name in (None, record.name)]
    if len(chosen) != 1:
        shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        wanted = "choose one by record=NAME" if name is None else f"{len(chosen)} of them are called {name!r}"
        raise ValueError(f"Edit: {path} holds {len(names)} sequences ({shown}); {wanted}")
    return chosen[0]
