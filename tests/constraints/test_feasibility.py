"""Unsatisfiable sets are recognised and named; satisfiable ones are never refused."""

import random

import pytest
import torch

from discrete_lightning.alphabet import DNA, RNA
from discrete_lightning.constraints import (
    AllowedLetters,
    Constraint,
    FixedPositions,
    ForbiddenMotifs,
    GCContent,
    MaxHomopolymer,
    SynonymousCodons,
    Unsatisfiable,
    check_satisfiable,
    feasibility,
)
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
    assert feasibility.excluded(rules, 6, DNA) is not satisfiable(rules)


def test_both_outcomes_occur() -> None:
    sets = [rules for seed in range(60) if (rules := drawn(seed)) is not None]
    share = sum(map(satisfiable, sets)) / len(sets)
    assert 0.1 < share < 0.9


@pytest.mark.parametrize("seed", range(60))
def test_automaton_never_refuses_what_exists(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sets, decided as long sequences are: never a false refusal, and exact without repeats and GC windows."""
    if (rules := drawn(seed)) is None:
        return
    monkeypatch.setattr(feasibility, "_FEW", 0)
    refused = feasibility.excluded(rules, 6, DNA)
    if refused:
        assert not satisfiable(rules)
    simple = [rule for rule in rules if not (isinstance(rule, GCContent) or type(rule).__name__ == "MaxRepeat")]
    assert feasibility.excluded(simple, 6, DNA) is not satisfiable(simple)


@pytest.mark.parametrize(
    ("rules", "named", "innocent"),
    [
        (
            [GCContent(0.2, 0.8), FixedPositions({9: "GAATTC"}), ForbiddenMotifs(["GAATTC"])],
            ["FixedPos", "Forbidden"],
            "GC",
        ),
        ([MaxHomopolymer(9), FixedPositions({3: "A"}), AllowedLetters({3: "S"})], ["FixedPos", "AllowedL"], "Homo"),
        ([SynonymousCodons("K" * 60), GCContent(0.5, 0.6), MaxHomopolymer(8)], ["Codons", "GCContent"], "Homo"),
        ([SynonymousCodons("M" * 60), ForbiddenMotifs(["CAT"])], ["Codons", "Forbidden"], "GC"),
        ([FixedPositions({100: "GGGGGGGGGG"}), GCContent(0.2, 0.6, window=10)], ["FixedPos", "window=10"], "Codons"),
    ],
)
def test_names_those_at_fault(rules: list[Constraint], named: list[str], innocent: str) -> None:
    with pytest.raises(Unsatisfiable) as error:
        check_satisfiable(rules, 180, DNA)
    assert all(name in str(error.value) for name in named)
    assert innocent not in str(error.value)


def test_a_realistic_set_is_not_refused() -> None:
    rules = [
        GCContent(0.25, 0.65),
        GCContent(0.2, 0.75, window=50),
        MaxHomopolymer(5),
        ForbiddenMotifs(["GAATTC", "GGTCTC", "CGTCTC", "GCGGCCGC"]),
        SynonymousCodons("MSLRGIKSLRG"),
    ]
    check_satisfiable(rules, 300, DNA)
    check_satisfiable([SynonymousCodons("MSL"), ForbiddenMotifs(["GAAUUC"])], 30, RNA)
