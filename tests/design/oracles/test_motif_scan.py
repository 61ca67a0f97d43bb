"""The motif scan against a scan by hand, letter by letter, and the shipped matrices."""

import math
from pathlib import Path

import pytest
import torch

from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.oracles import MotifScan, read_jaspar

SHIPPED = {"GATA2": 7, "GABPA": 10, "FOS::JUN": 9, "TP53": 18, "TBP": 7, "CTCF": 15, "JUN": 10}
TWO = ">MA1 TOY\nA [ 8 0 1 ]\nC [ 1 0 1 ]\nG [ 1 10 1 ]\nT [ 0 0 7 ]\n>MA2 OTHER\nA [1]\nC [1]\nG [1]\nT [1]\n"


def by_hand(counts: list[list[float]], sequence: str, pseudocount: float) -> list[float]:
    hits = []
    for strand in (sequence, DNA.reverse_complement(sequence)):
        for start in range(len(sequence) - len(counts[0]) + 1):
            total = 0.0
            for i in range(len(counts[0])):
                column = [row[i] for row in counts]
                count = column["ACGT".index(strand[start + i])]
                total += math.log((count + pseudocount / 4) / (sum(column) + pseudocount) / 0.25)
            hits.append(total)
    return hits


@pytest.mark.parametrize("motif", SHIPPED)
def test_scores(motif: str) -> None:
    scan = MotifScan(motif)
    assert scan.width == SHIPPED[motif]
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, (3, 40), generator=generator)
    x = torch.nn.functional.one_hot(tokens, 4).mT.float()
    frequencies = (scan.weight.double().exp() * 0.25).tolist()
    hits = [by_hand(frequencies, DNA.decode(row), 1e-9) for row in tokens]
    expected = torch.tensor([math.log(sum(math.exp(hit) for hit in row)) for row in hits])
    torch.testing.assert_close(scan(x), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        MotifScan(motif, "max")(x), torch.tensor([max(row) for row in hits]), atol=1e-4, rtol=1e-4
    )


def test_a_file_and_its_pseudocount(tmp_path: Path) -> None:
    path = tmp_path / "toy.jaspar"
    path.write_text(TWO)
    x = torch.nn.functional.one_hot(DNA.encode("CCAGTCC"), 4).T[None].float()
    counts = [[8.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 10.0, 1.0], [0.0, 0.0, 7.0]]
    expected = max(by_hand(counts, "CCAGTCC", 2.0))
    assert MotifScan(str(path), "max", pseudocount=2.0)(x).item() == pytest.approx(expected, abs=1e-5)


def test_both_strands_score_alike() -> None:
    tokens = torch.randint(4, (5, 60), generator=torch.Generator().manual_seed(1))
    x = torch.nn.functional.one_hot(tokens, 4).mT.float()
    scan = MotifScan("TP53")
    torch.testing.assert_close(scan(x), scan(x.flip(1, 2)))


def test_gradient_is_that_of_the_formula() -> None:
    x = torch.rand(2, 4, 20, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scan = MotifScan("GATA2")
    (slope,) = torch.autograd.grad(scan(x).sum(), x)
    step = torch.zeros_like(x)
    step[1, 2, 5] = 1e-2
    difference = (scan(x + step) - scan(x - step)).sum() / 2e-2
    assert slope[1, 2, 5].item() == pytest.approx(difference.item(), abs=1e-3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["rows A, C, G, T", "none"]),
        ("A [1 2]\nC [1 2]\nG [1 2]\n", ["rows A, C, G, T"]),
        ("A [1 2]\nC [1 2]\nG [1 2]\nT [1]\n", ["T: 1 numbers"]),
        ("A [1 x]\nC [1 2]\nG [1 2]\nT [1 2]\n", ["something other than numbers", "x"]),
        ("A [0 1]\nC [0 1]\nG [0 1]\nT [0 1]\n", ["all counts of a position are 0"]),
        ("A [-1]\nC [1]\nG [1]\nT [1]\n", ["negative"]),
    ],
)
def test_damaged_files(text: str, words: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        read_jaspar(text)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"'GATA9' is neither a file nor a shipped motif; these are .*GATA2"):
        MotifScan("GATA9")
    with pytest.raises(ValueError, match=r"7 letters or more, got \(1, 4, 6\)"):
        MotifScan("GATA2")(torch.zeros(1, 4, 6))
    with pytest.raises(ValueError, match="pseudocount must be positive"):
        MotifScan("GATA2", pseudocount=0.0)
