"""Information content against its definition, over the whole alphabet."""

import math

import pytest

pytest.importorskip("logomaker")
from discrete_lightning.design.alphabet import PROTEIN
from discrete_lightning.design.training.sequence_logo import draw_logo, information


def test_letters_that_do_not_occur_count() -> None:
    table = information(["AAAA", "AAAC"], "AGCT")
    assert list(table.columns) == list("AGCT")
    assert table.sum(axis=1).tolist() == pytest.approx([2, 2, 2, 1])
    assert table["A"].tolist() == pytest.approx([2, 2, 2, 0.5])
    assert table["C"].tolist() == pytest.approx([0, 0, 0, 0.5])


def test_identical_designs_are_fully_informative() -> None:
    assert information(["MKV"], PROTEIN.letters).sum(axis=1).tolist() == pytest.approx([math.log2(20)] * 3)
    top = draw_logo(["ACGT", "ACGT"], letters="ACGT").axes[0].get_ylim()[1]
    assert top == pytest.approx(2, abs=0.2)  # the letters reach it: no empty picture


def test_skewed_shares() -> None:
    table = information(["A", "A", "A", "C"], "ACGT")
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert table.loc[0, "A"] == pytest.approx(0.75 * (2 - entropy))
    assert table.loc[0, "C"] == pytest.approx(0.25 * (2 - entropy))


@pytest.mark.parametrize("letters", ["ACGU", "01", "XO", PROTEIN.letters])
def test_every_alphabet_is_drawn(letters: str) -> None:
    figure = draw_logo([letters[0] * 150, letters[1] * 150], start=140, letters=letters)
    assert figure.axes[0].get_xlabel() == "position (from 30)"
