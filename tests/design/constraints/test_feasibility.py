"""Unsatisfiable sets are recognised and named; satisfiable ones are never refused."""

import random
from itertools import product
from typing import Any

import pytest
import torch

from discrete_lightning.design import constraints
from discrete_lightning.design.alphabet import DNA, RNA, Alphabet
from discrete_lightning.design.constraints import (
    Constraint,
    ConstraintSet,
    Unsatisfiable,
    check_satisfiable,
    feasibility,
)
from discrete_lightning.design.constraints.automaton import find_path
from discrete_lightning.design.constraints.bounds import excluded, gc_pattern
from discrete_lightning.design.constraints.feasibility import find
from tests.references.rule_sets import random_rules
from tests.references.rules import keeps

EVERY = torch.cartesian_prod(*[torch.arange(4)] * 6)
STRINGS = [DNA.decode(row) for row in EVERY]


def satisfiable(rules: list[Constraint]) -> bool:
    return any(all(keeps(rule, sequence) for rule in rules) for sequence in STRINGS)


def drawn(seed: int) -> list[Constraint] | None:
    rng = random.Random(seed)
    rules = random_rules(rng, 6, most=5)
    try:
        for rule in rules:
            rule.validate(6, DNA)
    except ValueError:
        return None  # a rule that contradicts itself is refused before
    return rules


@pytest.mark.parametrize("seed", range(60))
def test_short_sequences_are_decided_exactly(seed: int) -> None:
    if (rules := drawn(seed)) is None:
        return
    found, proved = find(rules, 6, DNA)
    assert proved is not satisfiable(rules)
    if found is not None:
        assert all(keeps(rule, DNA.decode(found)) for rule in rules)
    if excluded(ConstraintSet(rules, 6, DNA)):
        assert not satisfiable(rules)


def test_both_outcomes_occur() -> None:
    sets = [rules for seed in range(60) if (rules := drawn(seed)) is not None]
    share = sum(map(satisfiable, sets)) / len(sets)
    assert 0.1 < share < 0.9


@pytest.mark.parametrize("seed", range(60))
def test_automaton_never_refuses_what_exists(seed: int) -> None:
    """Never a false proof; exact without repeats and GC, and the path is a sequence that keeps the rules."""
    if (rules := drawn(seed)) is None:
        return
    if find_path(ConstraintSet(rules, 6, DNA), 10**6)[1]:
        assert not satisfiable(rules)
    simple = [rule for rule in rules if not isinstance(rule, (constraints.GCContent, constraints.MaxRepeat))]
    path, certain = find_path(ConstraintSet(simple, 6, DNA), 10**6)
    assert certain is not satisfiable(simple)
    if path is not None:
        assert all(keeps(rule, DNA.decode(path)) for rule in simple)


@pytest.mark.parametrize("seed", range(60))
def test_a_witness_is_found_without_enumeration(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sets, decided as long sequences are."""
    if (rules := drawn(seed)) is None:
        return
    monkeypatch.setattr(feasibility, "_FEW", 0.5)
    found, proved = find(rules, 6, DNA)
    assert (found is not None) is satisfiable(rules)
    if found is not None:
        assert all(keeps(rule, DNA.decode(found)) for rule in rules)
    if proved:
        assert not satisfiable(rules)


@pytest.mark.parametrize("seed", range(40))
def test_gc_shares_are_decided_together(seed: int) -> None:
    """Against all patterns of G or C and A or T of 10 positions."""
    rng = random.Random(seed)
    rules: list[Constraint] = [
        constraints.AllowedLetters({rng.randrange(10): rng.choice(["S", "W"]) for _ in range(3)})
    ]
    for _ in range(rng.randint(1, 3)):
        low = rng.choice([0.0, 0.3, 0.5, 0.6])
        rules.append(
            constraints.GCContent(low, min(1.0, low + rng.choice([0.1, 0.2, 0.3])), rng.choice([None, 3, 4, 5, 7]))
        )
    pattern = gc_pattern(ConstraintSet(rules, 10, DNA))
    exists = any(all(keeps(rule, "".join(s)) for rule in rules) for s in product("AG", repeat=10))
    assert (pattern is not None) is exists
    if pattern is not None:
        assert all(keeps(rule, "".join("AG"[int(gc)] for gc in pattern)) for rule in rules)


@pytest.mark.parametrize(
    ("rules", "named", "innocent"),
    [
        (
            [
                constraints.GCContent(0.2, 0.8),
                constraints.FixedPositions({9: "GAATTC"}),
                constraints.ForbiddenMotifs(["GAATTC"]),
            ],
            ["FixedPos", "Forbidden"],
            "GC",
        ),
        (
            [constraints.MaxHomopolymer(9), constraints.FixedPositions({3: "A"}), constraints.AllowedLetters({3: "S"})],
            ["FixedPos", "AllowedL"],
            "Homo",
        ),
        (
            [constraints.SynonymousCodons("K" * 60), constraints.GCContent(0.5, 0.6), constraints.MaxHomopolymer(8)],
            ["Codons", "GCContent"],
            "Homo",
        ),
        ([constraints.SynonymousCodons("M" * 60), constraints.ForbiddenMotifs(["CAT"])], ["Codons", "Forbidden"], "GC"),
        (
            [constraints.FixedPositions({100: "GGGGGGGGGG"}), constraints.GCContent(0.2, 0.6, window=10)],
            ["FixedPos", "window=10"],
            "Codons",
        ),
    ],
)
def test_names_those_at_fault(rules: list[Constraint], named: list[str], innocent: str) -> None:
    with pytest.raises(Unsatisfiable) as error:
        check_satisfiable(rules, 180, DNA)
    assert all(name in str(error.value) for name in named)
    assert innocent not in str(error.value)


@pytest.mark.parametrize(
    ("rules", "length"),
    [
        ([constraints.MaxRepeat(1)], 100),
        ([constraints.MaxRepeat(3)], 300),
        ([constraints.MaxRepeat(2)], 67),
        ([constraints.MaxRepeat(2), constraints.MaxHomopolymer(1)], 39),
        ([constraints.MaxRepeat(2), constraints.FixedPositions({0: "ACGACGA"})], 40),
        ([constraints.GCContent(0.5, 0.5), constraints.GCContent(0, 0.4, window=10)], 40),
        ([constraints.GCContent(0.8, 0.9), constraints.GCContent(0.2, 0.4, window=10)], 40),
        ([constraints.FixedPositions({9: "GAATTC"}), constraints.ForbiddenMotifs(["GAATTC"])], 400),
        (
            [constraints.MaxHomopolymer(1), constraints.ForbiddenMotifs(["GC"]), constraints.GCContent(1, 1, window=5)],
            12,
        ),
    ],
)
def test_what_is_impossible_is_proved_and_all_are_named(rules: list[Constraint], length: int) -> None:
    innocent = constraints.ForbiddenMotifs(["GTATAC"])
    with pytest.raises(Unsatisfiable, match=f"no sequence of length {length} satisfies") as error:
        check_satisfiable([*rules[:1], innocent, *rules[1:]], length, DNA)
    assert error.value.proved
    assert all(str(rule) in str(error.value) for rule in rules)
    assert "GTATAC" not in str(error.value)


def test_the_pigeonhole_bound_is_tight() -> None:
    """66 letters hold all 64 words of three letters once (de Bruijn); without AA ... there are 36."""
    for rules, length in (
        ([constraints.MaxRepeat(2)], 66),
        ([constraints.MaxRepeat(2), constraints.MaxHomopolymer(1)], 38),
    ):
        assert not excluded(ConstraintSet(rules, length, DNA))
        assert excluded(ConstraintSet(rules, length + 1, DNA))


class _Palindromes(Constraint):
    """No sequence is found that keeps this, and no proof knows the rule."""

    def penalty(self, probabilities: torch.Tensor, alphabet: Alphabet) -> torch.Tensor:
        return probabilities.sum((-2, -1)) * 0 + 1

    def __str__(self) -> str:
        return "Palindromes()"


def test_what_is_not_found_is_not_called_impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasibility, "_PATIENCE", 1)  # seconds
    with pytest.raises(
        Unsatisfiable, match=r"was found that satisfies this: Palindromes\(\).*It is not proved"
    ) as error:
        check_satisfiable([constraints.MaxRepeat(9), _Palindromes(), constraints.GCContent(0.3, 0.6)], 30, DNA)
    assert not error.value.proved


def test_a_witness_saves_a_large_automaton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gapped sites on 500 bp have thousands of states."""
    monkeypatch.setattr(feasibility, "_LONG", -1)
    sites = constraints.ForbiddenMotifs(["GGCCNNNNNGGCC", "CCANNNNNNNNNTGG", "GAANNNNTTC", "ACNNNNNCTCC"])
    assert find_path(ConstraintSet([sites], 500, DNA), feasibility._QUICK) == (None, False)
    assert keeps(sites, DNA.decode(check_satisfiable([sites], 500, DNA)))


def test_a_known_sequence_is_a_witness() -> None:
    rules = [constraints.MaxRepeat(2), constraints.MaxHomopolymer(2), constraints.GCContent(0.4, 0.6, window=10)]
    known = check_satisfiable(rules, 40, DNA)
    assert torch.equal(check_satisfiable(rules, 40, DNA, known.unsqueeze(0)), known)


def test_it_is_deterministic_and_draws_nothing_from_the_default_generator() -> None:
    rules = [constraints.MaxRepeat(4), constraints.GCContent(0.4, 0.6, window=20)]
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first = check_satisfiable(rules, 120, DNA)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(check_satisfiable(rules, 120, DNA), first)


@pytest.mark.parametrize("given", [["GCContent"], "GCContent", [constraints.GCContent]])
def test_names_are_no_constraints(given: Any) -> None:
    with pytest.raises(TypeError, match=r"constraints are a list of Constraint objects.*class_path"):
        check_satisfiable(given, 10, DNA)


def test_a_realistic_set_is_not_refused() -> None:
    rules = [
        constraints.GCContent(0.25, 0.65),
        constraints.GCContent(0.2, 0.75, window=50),
        constraints.MaxHomopolymer(5),
        constraints.ForbiddenMotifs(["GAATTC", "GGTCTC", "CGTCTC", "GCGGCCGC"]),
        constraints.SynonymousCodons("MSLRGIKSLRG"),
    ]
    check_satisfiable(rules, 300, DNA)
    check_satisfiable([constraints.SynonymousCodons("MSL"), constraints.ForbiddenMotifs(["GAAUUC"])], 30, RNA)
