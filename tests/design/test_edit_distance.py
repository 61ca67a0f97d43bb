"""Edit distances against the definition, and against edlib and rapidfuzz where they are installed."""

import itertools
from functools import cache

import pytest
import torch
from torch import Tensor

from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.edit_distance import EditDistance


def plain(reference: str, design: str, editable: list[bool] | None = None, shift: int = 3) -> int:
    """The least number of edits by the definition; 10,000 or more if an edit is needed where none is allowed."""
    free = [True] * len(reference) if editable is None else editable
    cost = [1 if each else 10_000 for each in free]
    gap = [1 if any(free[max(0, j - 1) : j + 1]) else 10_000 for j in range(len(reference) + 1)]

    @cache
    def of(i: int, j: int) -> int:
        """Of the first i letters of the design and the first j of the reference."""
        if abs(i - j) > shift or min(i, j) < 0:
            return 10**9
        if not i and not j:
            return 0
        ways = [of(i - 1, j - 1) + (design[i - 1] != reference[j - 1]) * cost[j - 1]] if i and j else []
        ways += [of(i - 1, j) + gap[j]] if i else []
        ways += [of(i, j - 1) + cost[j - 1]] if j else []
        return min(ways)

    windows = [of(len(design), j) for j in range(len(reference) + 1)]
    exhausted = [of(i, len(reference)) for i in range(len(design) + 1)]
    return min(windows + exhausted)


def pairs(seed: int, length: int, flank: int, count: int = 12, letters: str = "ACGT") -> tuple[str, list[str]]:
    """A reference, and designs with a few edits of all kinds, among them one with none and a random one."""
    generator = torch.Generator().manual_seed(seed)

    def draw(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    reference = "".join(letters[draw(len(letters))] for _ in range(length + flank))
    designs = [reference[:length], "".join(letters[draw(len(letters))] for _ in range(length))]
    for number in range(count):
        row = [*reference, *"ACGT"]
        for _ in range(number % 5):
            place, letter, kind = draw(len(row)), letters[draw(len(letters))], draw(3)
            if kind == 0:
                row[place] = letter
            elif kind == 1:
                row.insert(place, letter)
            else:
                del row[place]
        row += [letters[draw(len(letters))] for _ in range(length)]
        designs.append("".join(row[:length]))
    return reference, designs


SIZES = [(1, 0), (2, 1), (9, 0), (12, 3), (30, 5), (30, 0)]


def made(reference: str, length: int, editable: list[bool] | None = None, shift: int = 3) -> EditDistance:
    return EditDistance(DNA.encode(reference), length, shift, None if editable is None else torch.tensor(editable))


@pytest.mark.parametrize(("length", "flank"), SIZES)
@pytest.mark.parametrize("letters", ["ACGT", "AC"])
def test_distances(length: int, flank: int, letters: str) -> None:
    for seed, shift in enumerate([0, 1, 3, 40]):
        reference, designs = pairs(seed, length, flank, letters=letters)
        found = made(reference, length, shift=shift)(DNA.encode_all(designs))
        assert found.tolist() == [plain(reference, design, shift=shift) for design in designs]


@pytest.mark.parametrize(("length", "flank"), SIZES)
def test_where_not_all_letters_may_change(length: int, flank: int) -> None:
    for seed in range(3):
        reference, designs = pairs(seed, length, flank)
        editable = [length // 4 <= i < length // 2 + 2 for i in range(len(reference))]
        found = made(reference, length, editable)(DNA.encode_all(designs)).tolist()
        expected = [plain(reference, design, editable) for design in designs]
        assert found == [each % 10_000 + each // 10_000 for each in expected]


def changed(design: str, kind: str, place: int, letter: str) -> str:
    if kind == "substitution":
        return design[:place] + letter + design[place + 1 :]
    if kind == "insertion":
        return (design[:place] + letter + design[place:])[: len(design)]
    return design[:place] + design[place + 1 :] + letter


@pytest.mark.parametrize("kind", ["substitution", "insertion", "deletion"])
@pytest.mark.parametrize(("length", "flank", "some"), [(2, 1, False), (9, 0, False), (12, 3, False), (14, 2, True)])
@pytest.mark.parametrize("shift", [1, 3])
def test_all_single_edits_at_once(kind: str, length: int, flank: int, some: bool, shift: int) -> None:
    reference, designs = pairs(4, length, flank)
    editable = [2 <= i < 8 for i in range(len(reference))] if some else None
    distance, tokens = made(reference, length, editable, shift), DNA.encode_all(designs)
    if kind == "deletion":
        found = torch.stack([distance.deletions(tokens, torch.full((len(tokens),), each)) for each in range(4)], -1)
    else:
        found = (distance.substitutions if kind == "substitution" else distance.insertions)(tokens, 4)
    for row, (place, letter) in itertools.product(range(len(designs)), itertools.product(range(length), range(4))):
        each = plain(reference, changed(designs[row], kind, place, "ACGT"[letter]), editable, shift)
        assert int(found[row, place, letter]) == each % 10_000 + each // 10_000


def test_what_enters_after_a_deletion() -> None:
    distance = made("ACGTACGTGG", 8)
    tokens = DNA.encode_all(["ACGTACGT", "CGTACGTG", "GTACGTGG", "TACGTGGA", "AACGTACG"])
    assert distance.entering(tokens).tolist() == [2, 2, -1, -1, 3]


@pytest.mark.parametrize("length", [20, 300])
def test_other_packages(length: int) -> None:
    """edlib's prefix mode frees the end of its target, and rapidfuzz the Levenshtein distance of every prefix."""
    edlib, rapidfuzz = pytest.importorskip("edlib"), pytest.importorskip("rapidfuzz.distance")
    reference, designs = pairs(7, length, length, count=15)  # a flank so long that it is never exhausted
    found = made(reference, length, shift=length)(DNA.encode_all(designs)).tolist()
    assert found == [edlib.align(design, reference, mode="SHW")["editDistance"] for design in designs]
    if length == 20:
        one = rapidfuzz.Levenshtein.distance
        assert found == [min(one(design, reference[:j]) for j in range(len(reference) + 1)) for design in designs]


def test_a_batch_of_any_shape() -> None:
    distance = made("ACGTAC", 5)
    rows = DNA.encode_all(["ACGTA", "CGTAC", "AAAAA", "ACTAC"]).view(2, 2, 5)
    assert distance(rows).tolist() == [[0, 1], [3, 1]]
    assert distance(rows[0, 1]).shape == ()
    assert distance.substitutions(rows[0, :0], 4).shape == (0, 5, 4)


def test_aligned() -> None:
    distance = made("ACGTACGT", 8)
    for design, places in {
        "ACGTACGT": [0, 1, 2, 3, 4, 5, 6, 7],
        "ACGGTACG": [0, 1, -1, 2, 3, 4, 5, 6],
        "ACTACGTA": [0, 1, 3, 4, 5, 6, 7, -2],
        "ACCTACGT": [0, 1, 2, 3, 4, 5, 6, 7],
    }.items():
        assert distance.aligned(DNA.encode(design)) == places


def rebuilt(distance: EditDistance, tokens: Tensor) -> int:
    """The number of edits that an alignment has, counted from its places."""
    places, edits, last = distance.aligned(tokens), 0, -1
    for letter, place in zip(tokens.tolist(), places, strict=True):
        if place == -1:
            edits += 1
        if place >= 0:
            edits += place - last - 1 + (int(distance.reference[place]) != letter)
            last = place
    return edits + (distance.size - last - 1 if -2 in places else 0)


@pytest.mark.parametrize(("length", "flank"), SIZES)
def test_an_alignment_has_as_many_edits_as_the_distance(length: int, flank: int) -> None:
    reference, designs = pairs(11, length, flank)
    distance = made(reference, length)
    for design in designs:
        assert rebuilt(distance, DNA.encode(design)) == int(distance(DNA.encode(design)))
