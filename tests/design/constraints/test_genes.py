"""Genes as people order them: on either strand, over the origin of a plasmid, in other genetic codes; enzymes by name."""

import random
import sys
from itertools import product

import pytest
import torch

from discrete_lightning.design import DesignProblem, Edit, GradientSearch, Polish
from discrete_lightning.design.alphabet import DNA, PROTEIN, RNA
from discrete_lightning.design.constraints import (
    ConstraintSet,
    ForbiddenMotifs,
    GCContent,
    SynonymousCodons,
    enzymes,
    genetic_code,
    translate,
)
from discrete_lightning.design.constraints.automaton import find_path
from discrete_lightning.design.constraints.bounds import excluded
from discrete_lightning.design.constraints.enzymes import recognition_site
from tests.design.toy_oracles import Linear
from tests.references.rule_sets import random_strand_or_circle
from tests.references.rules import keeps

GENE = "ATGTCTGGTCTCGAATTCCGTAAATGGTAA"  # MSGLEFRKW*, with sites of BsaI and EcoRI


def designed(sequence: str, rules: list[object], letters: str = "DNA") -> list[str]:
    problem = DesignProblem(Linear(len(sequence)), Edit(sequence, 0.0), letters, constraints=rules)  # type: ignore[arg-type]
    search = GradientSearch(4, 6, polish=Polish(sequences=2, calls=60)).begin(problem, 0)
    search.run()
    return [design.sequence for design in search.designs(8)]


def test_a_gene_on_the_reverse_strand_over_the_origin_keeps_its_protein_without_sites() -> None:
    plasmid = "CCAGT" + DNA.reverse_complement(GENE) + "TTGCAACT"
    around = plasmid[12:] + plasmid[:12]  # the gene lies in [38 - 7 + ..., 23)
    start, end = 5 - 12 + len(plasmid), 5 + len(GENE) - 12
    gene = SynonymousCodons(start=start, end=end, strand=-1, circular=True)
    assert gene.bind_template(around).protein == translate(GENE)
    found = designed(around, [gene, ForbiddenMotifs(["BsaI", "ecori"], circular=True), GCContent(0.3, 0.7)])
    assert len(found) > 1
    for design in found:
        assert translate(DNA.reverse_complement((design + design)[start : end + len(plasmid)])) == translate(GENE)
        assert not any(site in design + design[:5] for site in ("GGTCTC", "GAGACC", "GAATTC"))


def test_a_linear_gene_on_the_reverse_strand() -> None:
    sequence = "CC" + DNA.reverse_complement(GENE + "A")
    found = designed(sequence, [SynonymousCodons(strand=-1), ForbiddenMotifs(["EcoRI"])])
    assert {translate(DNA.reverse_complement(each)[: len(GENE)]) for each in found} == {translate(GENE)}


def test_the_protein_of_the_sequence_that_is_edited() -> None:
    rule = SynonymousCodons(start=2)
    assert rule.bind_template("CCATGTCATAGGGG") == SynonymousCodons("MS*", 2)  # to its stop
    assert rule.bind_template("CCAUGUCAUUAG") == SynonymousCodons("MSL", 2)  # no stop in frame: the last whole codon
    assert SynonymousCodons(start=2, end=9).bind_template("CCATGTCATAGG") == SynonymousCodons("MS", 2, 9)
    assert SynonymousCodons(table=4).bind_template("ATGTGATAA").protein == "MW*"
    assert SynonymousCodons("MK").bind_template("ATGTCA") == SynonymousCodons("MK")
    with pytest.raises(ValueError, match=r"no codon at position 2.*4 letters"):
        rule.bind_template("ATGT")
    with pytest.raises(ValueError, match=r"no protein was given.*Edit"):
        rule.validate(12, DNA)


@pytest.mark.parametrize("seed", range(25))
def test_proofs_hold_for_circles(seed: int) -> None:
    """What is proved unsatisfiable has no sequence among all 1,024."""
    rng = random.Random(seed)
    rules = [random_strand_or_circle(rng, 5) for _ in range(2)]
    exists = any(all(keeps(rule, "".join(s)) for rule in rules) for s in product("ACGT", repeat=5))
    together = ConstraintSet(rules, 5, DNA)
    if exists:
        assert not excluded(together)
        assert not find_path(together, 100_000)[1]


def test_the_penalty_over_the_origin_moves_with_the_circle() -> None:
    rules = [ForbiddenMotifs(["GANTC"], circular=True), GCContent(0.4, 0.6, 5, circular=True)]
    probabilities = torch.softmax(torch.randn(3, 14, 4, generator=torch.Generator().manual_seed(0)), -1)
    for rule in rules:
        torch.testing.assert_close(rule.penalty(probabilities.roll(5, 1), DNA), rule.penalty(probabilities, DNA))


@pytest.mark.parametrize(
    ("table", "sequence", "protein"),
    [
        (1, "atgTGAAGACTG", "M*RL"),
        (2, "ATGTGAAGAATA", "MW*M"),
        (4, "AUGUGA", "MW"),
        (11, "TTGTGA", "L*"),
        (12, "CTG", "S"),
    ],
)
def test_translate(table: int, sequence: str, protein: str) -> None:
    assert translate(sequence, table) == protein


def test_what_cannot_be_translated() -> None:
    with pytest.raises(ValueError, match=r"a codon has three letters.*got 4"):
        translate("ATGA")
    with pytest.raises(ValueError, match="'ANG' is not a codon"):
        translate("ANG")


def test_proteins_as_people_write_them() -> None:
    assert SynonymousCodons("m s\nl*") == SynonymousCodons("MSL*")
    assert SynonymousCodons("MU*").check("ATGTGATAG")
    assert not SynonymousCodons("MU*").check("ATGTGTTAG")
    assert SynonymousCodons("O").check("TAG")
    assert SynonymousCodons("WS", table=12).check("TGGCTG")
    with pytest.raises(ValueError, match="'J' is not an amino acid of the genetic code 4"):
        SynonymousCodons("MJ", table=4)


def test_enzymes_by_name() -> None:
    assert not ForbiddenMotifs(["SfiI"]).check("AAGGCCACGTAGGCCA")
    assert not ForbiddenMotifs(["BsaI"]).check("AAGAGACCUU", RNA)
    with pytest.raises(ValueError, match="'B' is neither a letter of 'ACDE"):
        ForbiddenMotifs(["BsaI"]).validate(9, PROTEIN)


def test_without_biopython_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Bio", "Bio.Data.CodonTable"):
        monkeypatch.setitem(sys.modules, name, None)
    genetic_code.genetic_code.cache_clear()
    with pytest.raises(
        ValueError, match=r"'BsaIX' is none of .* did you mean BsaI\? .* pip install 'discrete-lightning"
    ):
        recognition_site("BsaIX")
    with pytest.raises(
        ValueError, match=r"the genetic code 9 is not built in, .* pip install 'discrete-lightning\[biopython"
    ):
        SynonymousCodons(table=9)


def test_what_is_built_in_is_what_biopython_says() -> None:
    restriction = pytest.importorskip("Bio.Restriction", reason="Biopython is not installed")
    tables = pytest.importorskip("Bio.Data.CodonTable").unambiguous_dna_by_id
    for name, site in enzymes._SITES.items():
        assert getattr(restriction, name).site == site
    assert recognition_site("CspCI") == "CAANNNNNGTGG"
    for number in (*genetic_code._CHANGES, 9):
        code = genetic_code.genetic_code(number)
        assert {codon: amino for codon, amino in code.items() if amino != "*"} == tables[number].forward_table
    with pytest.raises(ValueError, match="NCBI has no genetic code 7; it has 1, 2"):
        genetic_code.genetic_code(7)
    with pytest.raises(ValueError, match="REBASE has no enzyme 'BsaIX'; did you mean"):
        recognition_site("BsaIX")
