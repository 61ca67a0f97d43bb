"""Changes as text: written, and applied back to the template."""

import pytest
import torch

from discrete_lightning.design import Edit
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.changes import applied, written
from tests.design.test_edit_distance import SIZES, made, pairs


@pytest.mark.parametrize(("length", "flank"), SIZES)
@pytest.mark.parametrize("shift", [0, 2, 9])
def test_round_trip(length: int, flank: int, shift: int) -> None:
    """Every design comes back, and its changes are as many letters as its edits, but for those that are free."""
    for seed in range(3):
        reference, designs = pairs(seed, length, flank)
        distance = made(reference, length, shift=shift)
        for design in designs:
            tokens = DNA.encode(design)
            text = written(design, reference, distance.aligned(tokens))
            assert applied(text, reference, length) == design
            edits = 0
            for change in filter(None, text.split(";")):
                first, _, last = change.removesuffix("del").partition("_")
                if change.endswith("del"):
                    edits += int(last or first) - int(first) + 1
                elif "ins" in change:
                    edits += len(change.partition("ins")[2])
                elif "add" not in change:
                    edits += 1
            assert edits == int(distance(tokens))


@pytest.mark.parametrize(
    ("changes", "design"),
    [
        ("", "ACGTACGTAC"),
        ("A1C;T8G", "CCGTACGGAC"),
        ("2del", "AGTACGTACT"),
        ("2_4del;12addG", "AACGTACTTG"),
        ("2_3insTT", "ACTTGTACGT"),
        ("0_1insG", "GACGTACGTA"),
        ("3del;8_9insGG", "ACTACGTGGA"),
        ("T4A;5_6del", "ACGAGTACTT"),
    ],
)
def test_notation(changes: str, design: str) -> None:
    """What each change means; what is written may be other changes that make the same design."""
    start = Edit("ACGTACGTAC", indels=3, flank="TT")
    distance = start.edit_distance(DNA)
    assert distance is not None
    assert start.apply(changes) == design
    again = written(design, "ACGTACGTACTT", distance.aligned(DNA.encode(design)))
    assert start.apply(again) == design
    assert len(again.split(";")) <= len(changes.split(";")) + 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("G1C", "no G at position 1"),
        ("A13C", "no A at position 13"),
        ("12_13del", "has 12 letters"),
        ("3_2del", "has 12 letters"),
        ("2_4insA", "not between neighbours"),
        ("13_14insA", "not between neighbours"),
        ("11addA", "is none of"),
        ("what", "is none of"),
        ("1_3del", "leave 9 letters of 10"),
    ],
)
def test_refuses(changes: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Edit("ACGTACGTAC", indels=3, flank="TT").apply(changes)


def test_substitutions_alone() -> None:
    """Without indels the notation is what it was."""
    start = Edit("acgt")
    assert start.apply("A1C;T4G") == "CCGG"
    assert written("CCGG", "ACGT", range(4)) == "A1C;T4G"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"indels": -1}, "0 to 4, got -1"),
        ({"indels": 5}, "0 to 4, got 5"),
        ({"indels": True}, "got True"),
        ({"flank": "A"}, "add indels=N"),
    ],
)
def test_edit_refuses(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Edit("ACGT", **arguments)  # type: ignore[arg-type]


def test_a_flank_of_other_letters() -> None:
    with pytest.raises(ValueError, match=r"'N' at position 1 .* of the flank"):
        Edit("ACGT", indels=1, flank="ANA").edit_distance(DNA)


def test_placed_on_the_devices_of_the_problem() -> None:
    """The tables are no part of a checkpoint."""
    distance = Edit("ACGT", indels=1, editable=[[1, 3]]).edit_distance(DNA)
    assert distance is not None
    assert not distance.state_dict()
    assert distance(torch.tensor([0, 1, 2, 3])) == 0
