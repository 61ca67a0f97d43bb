"""Where a design starts: from random sequences, from known sequences, or from one that should change as little as possible."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from discrete_lightning.design.alphabet import DNA, Alphabet
from discrete_lightning.design.changes import applied
from discrete_lightning.design.constraints import Constraint, KeptLetters, fix_all_but
from discrete_lightning.design.edit_distance import EditDistance
from discrete_lightning.design.files import Record, is_path, read_sequences
from discrete_lightning.functional._arguments import check_at_least, check_not_negative
from discrete_lightning.layers.constant_buffers import real_device


class Start:
    """Fixes the length of the designs and where the chains of a search start."""

    length: int
    edit_weight: float = 0.0

    def edit_distance(self, alphabet: Alphabet) -> EditDistance | None:
        """Counts the edits if they may be insertions and deletions; None if they are substitutions, or there is no template."""
        return None

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
    """Edits of a given sequence, the template: total = loss(score) + edit_weight * edits.

    Edits are substitutions; with `indels=N` also insertions and deletions that shift no letter by more than N places. The
    designs have the length of the template, as the oracle needs it: an insertion shifts what follows it to the right, and the
    last letters leave the window; a deletion shifts it to the left, and the letters of `flank` enter, then free ones. The
    number of edits is the least number that turns template + flank into the design (see design.edit_distance).

    Args:
        sequence: the template, or the path of a FASTA or FASTQ file, also packed by gzip. Small letters (soft masking) are
            read as capitals. A text with a suffix (`gene.fa`) or a separator of folders is a path.
        edit_weight: the cost of one edit, finite and >= 0.
        editable: half-open ranges of positions (from 0) that may change, such as [[1000, 1200]]; all other positions are
            fixed. With `indels` these are positions of the template: the other letters keep their order, and insertions and
            deletions in the ranges shift them. None: all positions may change. (The positions of other constraints, such as
            FixedPositions, are always those of the design.)
        record: the name of the sequence in a file of several.
        indels: the most places by which insertions and deletions may shift a letter; 0: there are substitutions alone.
        flank: the letters to the right of the template, which deletions move into the window; with `editable` they are fixed.
            Empty: the letters that enter are free, and not edits.

    Raises:
        ValueError: the sequence is empty, a range does not lie in it, `indels` is negative or more than its length, there is a
            flank without `indels`, or the file does not hold exactly one such sequence; or (in `template`) a letter is not in
            the alphabet.
        OSError: the file cannot be read.

    Example:
        >>> Edit("ACGT").length
        4
        >>> Edit("ACGTACGT", indels=1, flank="GG").apply("2del;T4A")
        'AGAACGTG'
        >>> Edit("ACGTAC", editable=[(2, 4)]).constraints()
        (FixedPositions(letters={0: 'AC', 4: 'AC'}),)
    """

    sequence: str
    edit_weight: float = 0.1
    editable: tuple[tuple[int, ...], ...] | None = None
    indels: int = 0
    flank: str = ""

    def __init__(
        self,
        sequence: str | Path,
        edit_weight: float = 0.1,
        editable: Sequence[Sequence[int]] | None = None,
        record: str | None = None,
        indels: int = 0,
        flank: str = "",
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
        sequence = str(sequence)
        object.__setattr__(self, "sequence", sequence)
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "edit_weight", edit_weight)
        object.__setattr__(self, "editable", _ranges(editable))
        if isinstance(indels, bool) or not 0 <= indels <= len(sequence):
            raise ValueError(
                f"Edit: indels is the most places by which a letter may be shifted, 0 to {len(sequence)}, got {indels}"
            )
        if flank and not indels:
            raise ValueError("Edit: a flank enters the window by deletions; add indels=N, or leave the flank out")
        object.__setattr__(self, "indels", indels)
        object.__setattr__(self, "flank", flank)
        self.constraints()  # raises an error for ranges that do not fit

    @property
    def length(self) -> int:  # type: ignore[override]
        """The length of the template."""
        return len(self.sequence)

    def template(self, alphabet: Alphabet) -> str:
        return alphabet.spelled(self.sequence, vars(self)["_name"])

    def constraints(self) -> tuple[Constraint, ...]:
        if self.editable is None:
            return ()
        fixed = fix_all_but(self.sequence, self.editable)
        return (KeptLetters(self.sequence + self.flank, self.editable, self.indels),) if self.indels else (fixed,)

    def edit_distance(self, alphabet: Alphabet) -> EditDistance | None:
        if not self.indels:
            return None
        letters = self._reference(alphabet)
        editable = None
        if self.editable is not None:
            editable = torch.zeros(len(letters), dtype=torch.bool, device=real_device())
            for first, end in self.editable:
                editable[first:end] = True
        return EditDistance(alphabet.encode(letters), self.length, self.indels, editable)

    def apply(self, changes: str, alphabet: Alphabet = DNA) -> str:
        """The design that the column `changes` of designs.csv makes of the template.

        Args:
            changes: as written there (the notation: design.changes).
            alphabet: of the template.

        Raises:
            ValueError: it cannot be read, or does not fit the template.
        """
        return applied(changes, self._reference(alphabet), self.length)

    def _reference(self, alphabet: Alphabet) -> str:
        """The letters of template and flank."""
        return self.template(alphabet) + alphabet.spelled(self.flank, "the flank")


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
