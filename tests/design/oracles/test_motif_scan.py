"""The motif scan against a scan by hand, letter by letter, and the shipped matrices."""

import math
from pathlib import Path

import pytest
import torch

from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.oracles import MotifScan

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
    assert MotifScan(path, "max", pseudocount=2.0, name="TOY")(x).item() == pytest.approx(expected, abs=1e-5)


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


def test_places_over_the_origin_of_a_circle() -> None:
    tokens = torch.randint(4, (3, 30), generator=torch.Generator().manual_seed(2))
    x = torch.nn.functional.one_hot(tokens, 4).mT.float()
    scan = MotifScan("GATA2", circular=True)
    assert scan.hits(x).shape == (3, 2, 30)
    torch.testing.assert_close(scan(x), scan(x.roll(11, -1)))
    counts = (scan.weight.double().exp() * 0.25).tolist()
    sequence = DNA.decode(tokens[0])
    assert float(MotifScan("GATA2", "max", circular=True)(x)[0]) == pytest.approx(
        max(by_hand(counts, sequence + sequence[:6], 1e-9)), abs=1e-4
    )


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"'GATA9' is neither a file nor a shipped motif; these are .*GATA2"):
        MotifScan("GATA9")
    with pytest.raises(ValueError, match=r"7 letters or more, got \(1, 4, 6\)"):
        MotifScan("GATA2")(torch.zeros(1, 4, 6))
    with pytest.raises(ValueError, match="pseudocount must be positive"):
        MotifScan("GATA2", pseudocount=0.0)
    with pytest.raises(ValueError, match=r"name='X' chooses a motif of a file, and 'GATA2' is no file"):
        MotifScan("GATA2", name="X")
    with pytest.raises(FileNotFoundError, match=r"there is no file absent\.meme"):
        MotifScan("absent.meme")
