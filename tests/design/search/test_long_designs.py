"""No reported design breaks a rule: random rules on sequences too many to enumerate, of any letters, checked on strings."""

import random

import pytest

from discrete_lightning.design import DesignProblem, FromNothing, GradientSearch, Polish, Search, SurrogateSearch
from discrete_lightning.design.alphabet import PROTEIN, Alphabet, alphabet
from discrete_lightning.design.constraints import Constraint, ForbiddenMotifs, Unsatisfiable
from tests.design.toy_oracles import Linear, Pairs
from tests.references.rule_sets import long_rules
from tests.references.rules import as_dna, keeps, keeps_plain


def kept(rule: Constraint, sequence: str, letters: str) -> bool:
    if set(letters) in (set("ACGT"), set("ACGU")):
        return keeps(as_dna(rule), sequence.replace("U", "T"))
    return keeps_plain(rule, sequence)


@pytest.mark.parametrize("letters", ["ACGT", "TGAC", "ACGU", PROTEIN.letters, "01"])
@pytest.mark.parametrize("seed", range(6))
def test_no_design_breaks_a_random_set_of_rules(seed: int, letters: str) -> None:
    rng = random.Random(f"{seed}{letters}")
    length = rng.randint(60, 200)
    rules = long_rules(rng, length, letters)
    try:
        problem = DesignProblem(Pairs(len(letters), seed), FromNothing(length), letters, constraints=rules)
    except ValueError as error:  # fixed twice, or impossible: tests/constraints/test_feasibility.py
        if not isinstance(error, Unsatisfiable) or error.proved:
            return
        raise
    search: Search = (
        SurrogateSearch(30, first=10) if seed % 3 == 0 else GradientSearch(4, 4, polish=Polish(4, 1, calls=40))
    )
    search.begin(problem, seed).run()
    designs = search.designs(20)
    assert designs
    for design in designs:
        broken = [rule for rule in rules if not kept(rule, design.sequence, letters)]
        assert not broken, design


@pytest.mark.parametrize("letters", ["AGCT", "TGCA"])
def test_the_other_strand_is_kept_free_in_any_order_of_letters(letters: str) -> None:
    """The oracle's optimum holds BsaI's site on the other strand; IUPAC codes stand for the same letters."""
    site, oracle = "GGTCTC", Linear(30, seed=1)
    best = "AC" + alphabet("DNA").reverse_complement(site) + "TTATTACCAGATTGATTACAAT"
    for place, letter in enumerate(best):
        oracle.weight.data[letters.index(letter), place] += 5
    for motif in (site, "GGTNTC"):
        problem = DesignProblem(oracle, FromNothing(30), letters, constraints=[ForbiddenMotifs([motif])])
        search = GradientSearch(8, 20, learning_rate=1.0, polish=Polish(sequences=2, calls=100)).begin(problem, 0)
        search.run()
        design = search.designs(1)[0]
        assert keeps(ForbiddenMotifs([motif]), design.sequence)
        assert sum(a != b for a, b in zip(design.sequence, best, strict=True)) == 1  # as near as the rule lets it
    with pytest.raises(ValueError, match="no complements"):
        DesignProblem(oracle, FromNothing(30), Alphabet(letters), constraints=[ForbiddenMotifs([site])])
