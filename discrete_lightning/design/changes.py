"""The edits of a design as text, in the manner of the HGVS nomenclature (https://hgvs-nomenclature.org), and back.

    A15G        A at position 15 is G           20del, 20_22del   these letters are deleted
    30_31insTT  TT between positions 30 and 31  200addAC          AC enters the window after the last letter, 200

Positions are those of the template, counted from 1; the letters of a flank have the positions that follow it. Letters that are
moved out of the window are not named.
"""

import re
from collections.abc import Sequence
from itertools import groupby

_SUBSTITUTION, _DELETION = re.compile(r"(.)(\d+)(.)"), re.compile(r"(\d+)(?:_(\d+))?del")
_INSERTION, _ADDITION = re.compile(r"(\d+)_(\d+)ins(.+)"), re.compile(r"(\d+)add(.+)")


def written(design: str, reference: str, places: Sequence[int]) -> str:
    """The changes of a design.

    Args:
        design: its letters.
        reference: the letters of template and flank.
        places: for each letter of the design its place in the reference, from 0 on; -1 for an inserted letter, -2 for one after
            the reference's end (see EditDistance.aligned).

    Example:
        >>> written("AGTTCA", "ACGTCC", [0, 2, 3, -1, 4, 5])
        '2del;4_5insT;C6A'
    """
    found, last = [], -1

    def deleted(end: int) -> None:
        first = last + 2
        if first <= end:
            found.append(f"{first}del" if first == end else f"{first}_{end}del")

    for (kind, _), group in groupby(
        enumerate(places), key=lambda each: (min(each[1], 0), each[1] if each[1] > -1 else -1)
    ):
        rows = [i for i, _ in group]
        letters = "".join(design[i] for i in rows)
        if kind == -1:
            found.append(f"{last + 1}_{last + 2}ins{letters}")
        elif kind == -2:
            deleted(len(reference))
            found.append(f"{len(reference)}add{letters}")
        else:
            place = places[rows[0]]
            deleted(place)
            if reference[place] != letters:
                found.append(f"{reference[place]}{place + 1}{letters}")
            last = place
    return ";".join(found)


def applied(changes: str, reference: str, length: int) -> str:
    """The design of a length that changes make of a reference.

    Raises:
        ValueError: a change cannot be read, does not fit the reference, or the design would be shorter.

    Example:
        >>> applied("2del;4_5insT;C6A", "ACGTCC", 6)
        'AGTTCA'
    """
    letters = list(reference)
    before = [""] * (len(reference) + 1)
    for change in filter(None, changes.split(";")):
        if found := _SUBSTITUTION.fullmatch(change):
            old, place, new = found[1], int(found[2]), found[3]
            if not 0 < place <= len(reference) or reference[place - 1] != old:
                raise ValueError(f"changes: {change!r} does not fit, the template has no {old} at position {place}")
            letters[place - 1] = new
        elif found := _DELETION.fullmatch(change):
            first, end = int(found[1]), int(found[2] or found[1])
            if not 0 < first <= end <= len(reference):
                raise ValueError(f"changes: {change!r} does not fit, the template has {len(reference)} letters")
            letters[first - 1 : end] = [""] * (end - first + 1)
        elif found := _INSERTION.fullmatch(change):
            place = int(found[1])
            if int(found[2]) != place + 1 or place > len(reference):
                raise ValueError(
                    f"changes: {change!r} does not fit, it is not between neighbours of {len(reference)} letters"
                )
            before[place] += found[3]
        elif (found := _ADDITION.fullmatch(change)) and int(found[1]) == len(reference):
            before[-1] += found[2]
        else:
            raise ValueError(
                f"changes: {change!r} is none of A15G, 20del, 20_22del, 30_31insT and {len(reference)}addT"
            )
    design = "".join(inserted + letter for inserted, letter in zip(before, [*letters, ""], strict=True))
    if len(design) < length:
        raise ValueError(f"changes: {changes!r} leave {len(design)} letters of {length}")
    return design[:length]
