import pytest
import torch

from discrete_lightning.design.alphabet import (
    DNA,
    PROTEIN,
    RNA,
    Alphabet,
    alphabet,
)


def test_names_and_own_letters() -> None:
    assert alphabet("dna") is DNA
    assert alphabet("RNA") is RNA
    assert alphabet("Protein") is PROTEIN
    assert alphabet("HP") == Alphabet("HP")
    assert alphabet(DNA) is DNA


@pytest.mark.parametrize("letters", ["AGCT", "TGCA", "TCAG"])
def test_another_order_of_the_letters_is_dna_still(letters: str) -> None:
    other = alphabet(letters)
    assert other.letters == letters
    assert other.reverse_complement("AACGT") == "ACGTT"
    assert sorted(other.choices("D")) == ["A", "G", "T"]
    assert alphabet("ACGT") == DNA
    rna = alphabet(letters.replace("T", "U"))
    assert rna.reverse_complement("AACGU") == "ACGUU"
    assert sorted(rna.choices("K")) == ["G", "U"]


@pytest.mark.parametrize("letters", ["ACGTN", "ACG", "ACDT"])
def test_other_letters_have_no_second_strand(letters: str) -> None:
    assert not alphabet(letters).complements


@pytest.mark.parametrize("letters", [DNA, RNA, PROTEIN])
def test_round_trip(letters: Alphabet) -> None:
    tokens = torch.randint(len(letters), (100,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(letters.encode(letters.decode(tokens)), tokens)


def test_small_letters_are_capitals_unless_the_alphabet_has_both() -> None:
    assert torch.equal(DNA.encode("ACgtA"), DNA.encode("ACGTA"))
    assert (DNA.choices("g"), DNA.choices("r"), DNA.reverse_complement("aaCG")) == ("G", "AG", "CGTT")
    assert Alphabet("ab").spelled("AB") == "ab"
    both = Alphabet("Aa")
    assert both.encode("aA").tolist() == [1, 0]


def test_reverse_complement() -> None:
    assert DNA.reverse_complement("AACGT") == "ACGTT"
    assert RNA.reverse_complement("AACGU") == "ACGUU"
    with pytest.raises(ValueError, match="no second strand"):
        PROTEIN.reverse_complement("MK")


@pytest.mark.parametrize(
    ("code", "dna", "rna"), [("R", "AG", "AG"), ("N", "ACGT", "ACGU"), ("T", "T", None), ("B", "CGT", "CGU")]
)
def test_codes(code: str, dna: str, rna: str | None) -> None:
    assert DNA.choices(code) == dna
    if rna is None:
        with pytest.raises(ValueError, match="'T' is neither"):
            RNA.choices(code)
    else:
        assert RNA.choices(code) == rna


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DNA.encode("ACGX"), ["'X'", "position 3", "'ACGT'"]),
        (lambda: DNA.encode("ACGNA"), ["'N'", "position 3", "any of A, C, G, T"]),
        (lambda: DNA.encode("ACGU"), ["'U'", "write T instead", "RNA"]),
        (lambda: RNA.encode("acgt"), ["'t'", "write U instead", "DNA"]),
        (lambda: DNA.encode("AC-T"), ["'-'", "gaps"]),
        (lambda: Alphabet("ab").encode("aBc"), ["'c'", "position 2"]),
        (lambda: DNA.reverse_complement("ACGX"), ["'X'", "position 3"]),
        (lambda: DNA.encode_all(["ACG", "AC"]), ["one length", "[2, 3]"]),
        (lambda: Alphabet("A"), ["two or more"]),
        (lambda: Alphabet("AA"), ["different letters", "'AA'"]),
        (lambda: Alphabet("ACGT", "TGAC"), ["do not pair"]),
        (lambda: alphabet("prot"), ["'prot'", "DNA, RNA and protein"]),
        (lambda: alphabet("Nucl"), ["'Nucl'", "DNA, RNA and protein"]),
        (lambda: alphabet("acgt"), ["'acgt'", "in capitals"]),
    ],
)
def test_errors(make: object, words: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        make()  # type: ignore[operator]
    assert all(word in str(error.value) for word in words), str(error.value)
