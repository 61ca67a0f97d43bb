"""Every constraint against its reading by hand on strings, over random rules and sequences."""

import pickle
import random
from collections.abc import Callable

import pytest
import torch

from discrete_lightning.design import constraints
from discrete_lightning.design.alphabet import (
    DNA,
    PROTEIN,
    RNA,
    Alphabet,
    alphabet,
)
from discrete_lightning.design.constraints import Constraint, fix_all_but
from tests.references.rule_sets import random_rule, random_strand_or_circle
from tests.references.rules import keeps


@pytest.mark.parametrize("make", [random_rule, random_strand_or_circle])
@pytest.mark.parametrize("seed", range(40))
def test_hard_check_and_penalty_agree_with_strings(seed: int, make: Callable[[random.Random, int], Constraint]) -> None:
    rng = random.Random(seed)
    length = rng.randint(3, 16)
    rule = make(rng, length)
    rule.validate(length, DNA)
    tokens = torch.tensor([[rng.randrange(4) for _ in range(length)] for _ in range(300)])
    expected = torch.tensor([keeps(rule, DNA.decode(row)) for row in tokens])
    assert torch.equal(rule.satisfied(tokens, DNA), expected), rule
    assert rule.check(DNA.decode(tokens[0])) is bool(expected[0])
    penalty = rule.penalty(torch.nn.functional.one_hot(tokens, 4).float(), DNA)
    assert torch.equal(penalty > 1e-4, ~expected), rule
    assert (penalty >= 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_penalty_is_finite_and_has_a_gradient(seed: int) -> None:
    rng = random.Random(seed)
    rule = random_rule(rng, 12)
    logits = torch.randn(5, 12, 4, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    penalty = rule.penalty(torch.softmax(logits, -1), DNA)
    assert penalty.shape == (5,)
    (slope,) = torch.autograd.grad(penalty.sum(), logits)
    assert penalty.isfinite().all()
    assert slope.isfinite().all()


@pytest.mark.parametrize(
    "rule",
    [
        constraints.MaxHomopolymer(2),
        constraints.ForbiddenMotifs(["GAA", "CRT"]),
        constraints.SynonymousCodons("SK"),
        constraints.SynonymousCodons("S", strand=-1),
        constraints.SynonymousCodons("SK", 4, 4, -1, circular=True),
        constraints.ForbiddenMotifs(["GAA", "CRT"], circular=True),
        constraints.MaxHomopolymer(2, circular=True),
        constraints.AllowedLetters({2: "R"}),
    ],
)
def test_penalty_is_the_expected_number_of_faults(rule: Constraint) -> None:
    """Each fault is a product over different positions, so independent letters give its exact expectation."""
    generator = torch.Generator().manual_seed(1)
    probabilities = torch.softmax(torch.randn(6, 4, generator=generator, dtype=torch.float64), -1)
    every = torch.cartesian_prod(*[torch.arange(4)] * 6)
    weight = probabilities.expand(len(every), -1, -1).gather(-1, every.unsqueeze(-1)).squeeze(-1).prod(-1)
    faults = rule.penalty(torch.nn.functional.one_hot(every, 4).double(), DNA)
    torch.testing.assert_close(rule.penalty(probabilities, DNA), (weight * faults).sum())


def test_small_letters_in_rules() -> None:
    assert not constraints.ForbiddenMotifs(["ggtctc"]).check("aaGGTCTCaa")
    assert not constraints.FixedPositions({1: "gt"}).check("AACC")
    assert constraints.AllowedLetters({1: "r"}).check("AACC")
    assert not constraints.MaxHomopolymer(2, "a").check("CAAAC")
    with pytest.raises(ValueError, match="position 1 is fixed to 'G' and to 'A'"):
        constraints.FixedPositions({0: "ag", 1: "A"}).validate(4, DNA)


def test_other_alphabets() -> None:
    assert constraints.SynonymousCodons("MS").check("AUGUCA", RNA)
    assert not constraints.ForbiddenMotifs(["GAAUUC"]).check("AAGAAUUCAA", RNA)
    assert not constraints.ForbiddenMotifs(["NGS"], both_strands=False).check("MKNGSA", PROTEIN)
    assert not constraints.FixedPositions({1: "1"}).check("000", Alphabet("01"))


@pytest.mark.parametrize("letters", ["AGCT", "UCAG"])
def test_the_order_of_the_letters_does_not_matter(letters: str) -> None:
    """The same strings pass and fail as in the usual order, whatever channel a letter has."""
    own = alphabet(letters)
    usual = RNA if "U" in letters else DNA
    site = "GGTCTC".replace("T", "U") if "U" in letters else "GGTCTC"
    rules: list[Constraint] = [
        constraints.ForbiddenMotifs([site[:4], "CAR"]),
        constraints.AllowedLetters({2: "R"}),
        constraints.GCContent(0.3, 0.6),
        constraints.SynonymousCodons("X", 1),
        constraints.MaxHomopolymer(2, "GC"),
    ]
    tokens = torch.randint(4, (400, 12), generator=torch.Generator().manual_seed(0))
    strings = [usual.decode(row) for row in tokens]
    for rule in rules:
        rule.validate(12, own)
        assert torch.equal(rule.satisfied(own.encode_all(strings), own), rule.satisfied(tokens, usual)), rule
    assert not constraints.ForbiddenMotifs([site]).check("AA" + own.reverse_complement(site) + "AA", own)


@pytest.mark.parametrize("letters", [Alphabet("AGCT"), Alphabet("ACGTN"), Alphabet("ACGU")])
def test_both_strands_of_nucleotides_need_complements(letters: Alphabet) -> None:
    with pytest.raises(ValueError, match=r"both strands.*no complements.*both_strands"):
        constraints.ForbiddenMotifs(["GGTCTC".replace("T", letters.letters[3])]).validate(20, letters)
    constraints.ForbiddenMotifs(["GGACC"], both_strands=False).validate(20, letters)


def test_rules_are_read_from_tables_that_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rules: list[Constraint] = [
        constraints.FixedPositions({0: "ATG"}),
        constraints.AllowedLetters({2: "R"}),
        constraints.SynonymousCodons("MS"),
        constraints.ForbiddenMotifs(["CAR"]),
        constraints.GCContent(0.2, 0.6),
        constraints.MaxHomopolymer(3),
    ]
    probabilities = torch.softmax(torch.randn(3, 12, 4, generator=torch.Generator().manual_seed(0)), -1)
    tokens = probabilities.argmax(-1)
    first = [(rule.penalty(probabilities, DNA), rule.satisfied(tokens, DNA)) for rule in rules]
    copies = pickle.loads(pickle.dumps(rules))
    assert copies == rules
    assert pickle.dumps(rules) == pickle.dumps(copies)  # no table is in it
    monkeypatch.setattr(torch, "tensor", lambda *_: pytest.fail("a table was made again"))
    for rule, (penalty, kept) in zip(rules, first, strict=True):
        assert torch.equal(rule.penalty(probabilities, DNA), penalty)
        assert torch.equal(rule.satisfied(tokens, DNA), kept)


def test_a_table_made_in_inference_mode_can_be_used_in_training() -> None:
    rule = constraints.ForbiddenMotifs(["GAATTC"])
    logits = torch.zeros(2, 12, 4, requires_grad=True)
    with torch.inference_mode():
        rule.penalty(torch.softmax(logits, -1), DNA)
    rule.penalty(torch.softmax(logits, -1), DNA).sum().backward()
    assert logits.grad is not None


def test_long_words_are_compared_exactly_where_they_can_be() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, (4, 300), generator=generator)
    assert constraints.MaxRepeat(40).satisfied(tokens, DNA).all()
    tokens[2, 200:250] = tokens[2, 10:60]
    assert constraints.MaxRepeat(40).satisfied(tokens, DNA).tolist() == [True, True, False, True]


def test_fix_all_but_the_editable() -> None:
    rule = fix_all_but("ACGTACGT", [(2, 4), (7, 8)])
    assert rule.check("ACTTACGA")
    assert not rule.check("ACGTCCGT")
    assert fix_all_but("ACGT", [(0, 4)]).letters == {}
    for bounds in ([0, 5], [-1, 2], [2, 2], [3, 1], [1]):
        with pytest.raises(ValueError, match=r"is not a range of positions of a sequence of 4 letters"):
            fix_all_but("ACGT", [bounds])


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (constraints.FixedPositions({6: "ACGT"}), ["'ACGT' at position 6", "out of range", "length 8", "0 to 7"]),
        (constraints.FixedPositions({-1: "A"}), ["position -1", "out of range"]),
        (constraints.FixedPositions({0: "AX"}), ["'X'", "alphabet 'ACGT'"]),
        (constraints.FixedPositions({0: "AC", 1: "G"}), ["position 1", "'C'", "'G'"]),
        (constraints.AllowedLetters({8: "A"}), ["position 8", "out of range", "length 8"]),
        (constraints.AllowedLetters({0: ""}), ["no letter is allowed at position 0"]),
        (constraints.AllowedLetters({0: "Z"}), ["'Z'"]),
        (constraints.ForbiddenMotifs(["GAX"]), ["'X'"]),
        (constraints.GCContent(0.2, 0.4, window=9), ["window=9", "length 8"]),
        (constraints.ForbiddenMotifs(["BsaX"]), ["'BsaX'", "names no enzyme", "BsaI"]),
        (constraints.SynonymousCodons("MMM"), ["3 codons", "9 letters", "8"]),
        (constraints.SynonymousCodons("MM", 1, 6), ["2 codons", "6 letters", "there are 5"]),
        (constraints.SynonymousCodons("M", 6, 2), ["start=6, end=2", "not a region", "8 letters", "circular=True"]),
        (constraints.SynonymousCodons("M", 8, circular=True), ["start=8", "not a region"]),
        (constraints.MaxHomopolymer(2, "AQ"), ["'Q'"]),
    ],
)
def test_rules_that_do_not_fit(rule: Constraint, words: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        rule.validate(8, DNA)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: constraints.GCContent(0.6, 0.4),
        lambda: constraints.GCContent(-0.1, 0.4),
        lambda: constraints.MaxHomopolymer(0),
        lambda: constraints.MaxRepeat(0),
        lambda: constraints.ForbiddenMotifs([]),
        lambda: constraints.ForbiddenMotifs("GAATTC"),  # type: ignore[arg-type]
        lambda: constraints.SynonymousCodons("MJ"),
        lambda: constraints.SynonymousCodons(strand=0),
        lambda: constraints.SynonymousCodons(table=7),
        lambda: constraints.SynonymousCodons(""),
    ],
)
def test_arguments_that_make_no_sense(make: object) -> None:
    with pytest.raises(ValueError):
        make()  # type: ignore[operator]


def test_alphabets_without_what_a_rule_needs() -> None:
    with pytest.raises(ValueError, match="has no G and C"):
        constraints.GCContent(0.2, 0.4).validate(8, Alphabet("AB"))
    with pytest.raises(ValueError, match="codons are of DNA or RNA"):
        constraints.SynonymousCodons("M").validate(8, PROTEIN)
